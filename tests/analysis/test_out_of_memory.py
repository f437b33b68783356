"""Running out of memory is one message with the numbers and the remedies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.analysis.out_of_memory import is_out_of_memory, kept_by, memory_explained, out_of_memory
from toolkit.backbones.vgg import Vgg
from toolkit.errors import UserError
from toolkit.heads.pixel import PixelHead
from toolkit.layers.recomputed import recompute
from toolkit.models.vision_model import VisionModel
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.ops.kept_bytes import kept_for_backward


def segnet() -> VisionModel:
    backbone = Vgg(11, batch_norm=True, pool_indices=True, ceil_mode=True)
    neck = IndexUnpool(backbone.spec, [2, 2, 2, 1, 1])
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3), ["a", "b", "c"])


@pytest.mark.parametrize("level", ["none", "units"])
def test_what_is_kept_is_known_without_keeping_it(level: str) -> None:
    model, images = segnet(), torch.randint(0, 256, (2, 3, 33, 40), dtype=torch.uint8)
    recompute(model, level)  # type: ignore[arg-type]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    estimate = kept_by(model, images)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    with kept_for_backward(model) as kept:
        model.pyramid(images)
    assert estimate == kept.bytes


def test_no_estimate_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = segnet()
    monkeypatch.setattr(model.backbone, "forward", lambda images: int(images.sum()))
    assert kept_by(model, torch.zeros(1, 3, 32, 32)) is None


def test_the_message() -> None:
    model, images = segnet(), torch.zeros(16, 3, 360, 480, dtype=torch.uint8)
    error = RuntimeError("CUDA out of memory. Tried to allocate 1.25 GiB. GPU 0 has a total capacity of 7.79 GiB")
    found = out_of_memory(error, "training step 12", model, images, ["do this", "or that"], kept=True)
    (problem,) = found.problems
    assert found.exit_code == 1
    assert problem.where == "memory"
    assert problem.message.startswith(
        "training step 12 does not fit into the memory of cpu; 1.2 GiB more were asked for"
    )
    assert "the batch is 16 x 3 x 360 x 480, of which backbone and neck keep about" in problem.message
    assert problem.suggestion == "do this; or or that"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (np._core._exceptions._ArrayMemoryError((10**12,), np.dtype("float32")), True),  # type: ignore[attr-defined]
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails() -> None:
    message = r"this does not fit into the memory of cpu; .* more were asked for"
    with pytest.raises(UserError, match=message), memory_explained("this", segnet(), ["less"]):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(ValueError, match="else"), memory_explained("this", segnet(), ["less"]):
        raise ValueError("something else")
