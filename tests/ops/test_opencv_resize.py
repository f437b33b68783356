"""Resizing inside exported programs gives OpenCV's bytes, and the same ones in every engine."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.ops.opencv_resize import resize_bytes


def opencv(image: np.ndarray, after: tuple[int, int]) -> np.ndarray:
    shrinks = after[0] * after[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, after[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def ours(image: np.ndarray, after: tuple[int, int]) -> np.ndarray:
    return resize_bytes(torch.from_numpy(image).permute(2, 0, 1)[None], after)[0].permute(1, 2, 0).numpy()


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize(
    ("before", "after"),
    [((37, 51), (64, 64)), ((97, 131), (360, 480)), ((1, 7), (5, 9)), ((40, 100), (64, 41)), ((64, 64), (32, 32))],
)
def test_bytes_are_opencvs(before: tuple[int, int], after: tuple[int, int]) -> None:
    assert (ours(noise(before), after) == opencv(noise(before), after)).all()


@pytest.mark.parametrize(("before", "after"), [((96, 90), (31, 47)), ((12, 16), (6, 4)), ((9, 200), (9, 7))])
def test_means_are_rounded_as_they_are_halves_to_the_even_number(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    image = noise(before)
    rows, columns = (shares(n, m) for n, m in zip(before, after, strict=True))
    sums = np.einsum("ij,jkc,lk->ilc", rows, image.astype(np.int64), columns)
    whole = before[0] * before[1]
    level, rest = np.divmod(sums, whole)
    wanted = level + ((2 * rest > whole) | ((2 * rest == whole) & (level % 2 == 1)))
    assert (ours(image, after) == wanted).all()


def shares(before: int, after: int) -> np.ndarray:
    """(after, before) int64: parts of 1 / after of each pixel, counted one by one."""
    found = np.zeros((after, before), np.int64)
    for part in range(before * after):
        found[part // before, part // after] += 1
    return found


def test_a_large_picture_of_one_level_keeps_it() -> None:
    """Sums of 30 bits are cut into digits: nothing is lost where float32 would."""
    for level in (1, 254, 255):
        image = np.full((3001, 2003, 1), level, np.uint8)
        assert (ours(image, (7, 5)) == level).all()


class _Resize(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return resize_bytes(images, (24, 40))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_give_the_same_bytes(engine: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip(engine)
    example = torch.zeros((1, 3, 37, 51), dtype=torch.uint8)
    shapes = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(_Resize(), (example,), dynamic_shapes=shapes, strict=False)
    torch.onnx.export(program, dynamo=True, opset_version=20, verbose=False).save(tmp_path / "resize.onnx")
    if engine == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(tmp_path / "resize.onnx")
        run = lambda given: session.run(None, {session.get_inputs()[0].name: given})[0]  # noqa: E731
    else:
        import openvino

        made = openvino.Core().compile_model(str(tmp_path / "resize.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        run = lambda given: made([given])[0]  # noqa: E731
    for size in [(37, 51), (48, 80), (24, 40), (240, 321), (10, 12), (17, 90), (1000, 1400)]:
        images = torch.from_numpy(noise(size)).permute(2, 0, 1)[None].contiguous()
        assert (run(images.numpy()) == resize_bytes(images, (24, 40)).numpy()).all(), size
