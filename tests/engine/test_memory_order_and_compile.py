"""Channels last, compiled steps, precisions: the same training up to rounding, and exact within itself."""

from __future__ import annotations

import copy
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config
from torch import Tensor

from toolkit.backbones.segnet_basic_encoder import SegNetBasicEncoder
from toolkit.backbones.vgg import Vgg
from toolkit.engine import process
from toolkit.engine import step as step_module
from toolkit.engine.interrupt import Interrupted
from toolkit.engine.prepare import LossModule, lies_channels_last, match_strides
from toolkit.engine.process import allow_tf32, make_fabric
from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError, UserError
from toolkit.heads.pixel import PixelHead
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.train import run_training
from toolkit.models.vision_model import VisionModel
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.samples import Batch

COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.mark.parametrize(
    ("asked", "device", "precision", "last"),
    [
        ("auto", "cuda", "bf16-mixed", True),
        ("auto", "cuda", "32-true", False),
        ("auto", "cpu", "bf16-mixed", False),
        (True, "cpu", "32-true", True),
        (False, "cuda", "bf16-mixed", False),
    ],
)
def test_what_auto_means(asked: Any, device: str, precision: Any, last: bool) -> None:
    settings = TrainSettings(steps=1, channels_last=asked, precision=precision)
    assert lies_channels_last(settings, device) is last


@pytest.mark.parametrize(
    ("asked", "device", "instructions", "taken"),
    [
        ("auto", "cpu", "AMX", "bf16-mixed"),
        ("auto", "cpu", "AVX-512", "32-true"),
        ("auto", "cpu", "", "32-true"),
        ("auto", "mps", "AMX", "32-true"),
        ("32-true", "cpu", "AMX", "32-true"),
        ("bf16-mixed", "cpu", "", "bf16-mixed"),
    ],
)
def test_which_precision_auto_takes(
    asked: Any, device: str, instructions: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "bf16_instructions", lambda: instructions)
    assert process.precision_on(TrainSettings(steps=1, precision=asked), device) == taken


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "last.safetensors")


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = step_module.set_learning_rate

    def stopping(optimizer: Any, schedule: Any, at: int, settings: Any) -> float:
        if at == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(optimizer, schedule, at, settings)

    monkeypatch.setattr(step_module, "set_learning_rate", stopping)


def resumed_is_uninterrupted(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: Any = lambda: None
) -> None:
    run_training(config, tmp_path / "whole", quiet=True)
    between()
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Interrupted):
            run_training(config, tmp_path / "parts", quiet=True)
    between()
    run_training(config, tmp_path / "parts", resume=True, quiet=True)
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(first[name], second[name]) for name in first)


def segnet() -> VisionModel:
    torch.manual_seed(0)
    backbone = Vgg(11, batch_norm=True, pool_indices=True, ceil_mode=True)
    neck = IndexUnpool(backbone.spec, [2, 2, 2, 1, 1])
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3), ["a", "b", "c"])


def small_segnet() -> VisionModel:
    torch.manual_seed(0)
    backbone = SegNetBasicEncoder(num_stages=2, width=4, kernel_size=3)
    neck = IndexUnpool(backbone.spec, [1, 1])
    return VisionModel(backbone, neck, PixelHead(neck.spec, 3), ["a", "b", "c"])


def batch(height: int = 33, width: int = 47) -> Batch:
    torch.manual_seed(1)
    images = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    sizes = torch.tensor([[height, width]] * 2)
    labels = torch.randint(0, 3, (2, height, width), dtype=torch.uint8)
    return Batch(images, sizes, sizes, ("first", "second"), labels)


def gradients(module: LossModule) -> dict[str, Tensor]:
    sum(module(batch()).values()).backward()  # type: ignore[union-attr]
    return {name: parameter.grad for name, parameter in module.model.named_parameters() if parameter.grad is not None}


def test_memory_order_changes_rounding_only_pooling_indices_included() -> None:
    orders: list[set[bool]] = []
    results = []
    for channels_last in (False, True):
        model = segnet().double().train()
        seen: set[bool] = set()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.register_forward_hook(
                    lambda _, inputs, output, seen=seen: (
                        seen.add(  # type: ignore[misc]
                            output.is_contiguous(memory_format=torch.channels_last)
                        )
                        if min(output.shape[1:]) > 1
                        else None
                    )
                )
        if channels_last:
            model.to(memory_format=torch.channels_last)
        results.append(gradients(LossModule(model, channels_last=channels_last)))
        orders.append(seen)
    assert orders == [{False}, {True}]  # the setting is what every map has
    for name, wanted in results[0].items():  # the loss itself is float32
        torch.testing.assert_close(results[1][name], wanted, rtol=1e-4, atol=1e-6, msg=name)


def test_channels_last_training_resumes_exactly_and_files_are_plain(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(data, "train.channels_last=true")
    resumed_is_uninterrupted(config, tmp_path, monkeypatch)
    moments = torch.load(tmp_path / "whole" / "last.state")["optimizer"]["state"]
    assert any(value["exp_avg"].ndim == 4 and not value["exp_avg"].is_contiguous() for value in moments.values())
    assert run_evaluation(tmp_path / "whole")["metrics"]["mIoU"] is not None


def test_moments_of_another_memory_order_are_laid_as_their_parameter() -> None:
    """A fused optimizer walks through memory: parameter and moments must lie the same way."""
    start, gradients_ = torch.rand(4, 3, 3, 3), [torch.rand(4, 3, 3, 3) for _ in range(2)]

    def made(order: torch.memory_format) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        parameter = torch.nn.Parameter(start.clone(memory_format=order))
        return parameter, torch.optim.AdamW([parameter], 0.1, fused=True)

    def update(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, gradient: Tensor) -> None:
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()

    first, optimizer = made(torch.contiguous_format)
    update(first, optimizer, gradients_[0])
    other, continued = made(torch.channels_last)
    continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    match_strides(continued)
    with torch.no_grad():
        other.copy_(first)
    update(first, optimizer, gradients_[1])
    update(other, continued, gradients_[1])
    torch.testing.assert_close(other, first, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_dense_losses_are_one_graph(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a break. Odd and even sizes are poolings of their own; the names of a batch's images are nothing new."""
    compiled: list[Any] = []

    def one_graph(function: Any) -> Any:
        graphs: list[Any] = []

        def backend(graph: Any, inputs: Any) -> Any:
            graphs.append(graph)
            return graph.forward

        compiled.append(graphs)
        return real(function, backend=backend, fullgraph=True, dynamic=True)

    real = torch.compile
    monkeypatch.setattr(torch, "compile", one_graph)
    torch._dynamo.reset()
    model = small_segnet().train()
    names = list(model.state_dict())
    module = LossModule(model, compiled=True)
    expected = LossModule(small_segnet().train())
    for height, width in ((33, 47), (36, 64), (40, 56), (12, 20)):
        one = batch(height, width)
        loss = module(one._replace(names=(f"{height}", f"{width}")))
        torch.testing.assert_close(loss["cross_entropy"], expected(one)["cross_entropy"], rtol=1e-4, atol=1e-5)
    assert len(compiled[0]) == 2
    assert list(model.state_dict()) == names
    wrong = batch()
    assert wrong.label_maps is not None
    wrong.label_maps[1, 0, 0] = 7
    with pytest.raises(UserError, match=r"second.*7 .1 pixels"):
        module(wrong)
    torch._dynamo.reset()


@pytest.mark.slow
def test_of_a_detector_the_pyramid_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(function: Any) -> Any:
        compiled = real(function, backend="eager", fullgraph=True)

        def call(*args: Any) -> Any:
            calls.append(function.__name__)
            return compiled(*args)

        return call

    real = torch.compile
    monkeypatch.setattr(torch, "compile", noted)
    torch._dynamo.reset()
    options = ["train.steps=2", "train.evaluate_every=null"]
    run_training(
        tiny_detection_config(tmp_path / "data", "train.compile=true", *options), tmp_path / "compiled", quiet=True
    )
    assert calls == ["pyramid", "pyramid"]
    run_training(tiny_detection_config(tmp_path / "data", *options), tmp_path / "eager", quiet=True)
    for name, wanted in weights(tmp_path / "eager").items():
        torch.testing.assert_close(weights(tmp_path / "compiled")[name], wanted, rtol=1e-4, atol=1e-5, msg=name)
    torch._dynamo.reset()


@COMPILER
@pytest.mark.slow
def test_compiled_training_learns_the_same_and_resumes_exactly(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(data, "train.compile=true", "train.optimizer={name: sgd, lr: 0.05}")
    resumed_is_uninterrupted(config, tmp_path, monkeypatch, between=torch._dynamo.reset)
    run_training(
        tiny_config(data, "train.optimizer={name: sgd, lr: 0.05}", "model.backbone.dropout=0.0"),
        tmp_path / "eager",
        quiet=True,
    )
    run_training(
        tiny_config(data, "train.compile=true", "train.optimizer={name: sgd, lr: 0.05}", "model.backbone.dropout=0.0"),
        tmp_path / "compiled",
        quiet=True,
    )
    first, second = weights(tmp_path / "eager"), weights(tmp_path / "compiled")
    assert list(first) == list(second)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-2, atol=1e-4, msg=name)


@pytest.mark.slow
def test_recomputed_training_is_the_same_training(data: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data), tmp_path / "plain", quiet=True)
    wanted = weights(tmp_path / "plain")
    for level in ("units", "blocks"):
        options = [f"train.recompute={level}"]
        run_training(tiny_config(data, *options), tmp_path / level, quiet=True)
        found = weights(tmp_path / level)
        assert list(found) == list(wanted)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_recompute_without_units_says_what_to_do(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data, "model.backbone.norm=none", "model.neck.norm=none", "train.recompute=units")
    with pytest.raises(ConfigError, match=r"train\.recompute: finds no units.*set recompute: blocks"):
        run_training(config, tmp_path / "run", quiet=True)


def test_float16_on_a_cpu_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.precision: float16 .* needs a GPU.*bf16-mixed"):
        run_training(tiny_config(data, "train.precision=16-mixed"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def precisions() -> Any:
    yield
    allow_tf32(False)
    torch.backends.cudnn.allow_tf32 = True  # as PyTorch starts


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.usefixtures("precisions")
def test_tf32_is_told_to_both_interfaces(allowed: bool) -> None:
    for _ in range(2):  # twice, as two trainings in one process would
        allow_tf32(allowed)
        assert (torch.backends.cuda.matmul.fp32_precision == "tf32") is allowed
        assert (torch.backends.cudnn.conv.fp32_precision == "tf32") is allowed
        # These raise when the two interfaces disagree.
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed


@pytest.mark.gpu
@pytest.mark.usefixtures("precisions")
def test_tf32_on_a_gpu(data: Path) -> None:
    """A mantissa of 10 bits: products differ by about 1e-3 of their size; without it by 1e-6."""
    x = torch.rand(1, 64, 32, 32, dtype=torch.float64)
    kernel = torch.rand(64, 64, 3, 3, dtype=torch.float64)
    exact = torch.nn.functional.conv2d(x, kernel)
    gaps = {}
    for allowed in (True, False):
        make_fabric(tiny_config(data, "train.device=cuda", f"train.tf32={str(allowed).lower()}").train)
        found = torch.nn.functional.conv2d(x.float().cuda(), kernel.float().cuda()).double().cpu()
        gaps[allowed] = float(((found - exact) / exact).abs().max())
    assert gaps[False] < 1e-5 < gaps[True] < 1e-2


GPU_WAYS = {
    "plain": [],
    "bf16": ["train.precision=bf16-mixed"],
    "float16, clipped": ["train.precision=16-mixed", "train.clip_norm=1.0"],
    "float16, sgd": ["train.precision=16-mixed", "train.optimizer={name: sgd, lr: 0.05}"],
    "channels last": ["train.channels_last=true"],
    "recomputed": ["train.recompute=units", "train.precision=bf16-mixed"],
    "recomputed blocks": ["train.recompute=blocks"],
    "compiled": ["train.compile=true"],
    "everything": [
        "train.precision=bf16-mixed",
        "train.channels_last=true",
        "train.compile=true",
        "train.recompute=units",
    ],
}


@pytest.mark.gpu
@pytest.mark.parametrize("way", GPU_WAYS)
def test_every_way_resumes_exactly_on_a_gpu(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    config = tiny_config(data, "train.device=cuda", "train.deterministic=true", *GPU_WAYS[way])
    resumed_is_uninterrupted(config, tmp_path, monkeypatch, between=torch._dynamo.reset)
    state = torch.load(tmp_path / "parts" / "last.state")
    assert bool(state["scaler"]) is way.startswith("float16")
    assert run_evaluation(tmp_path / "parts")["metrics"]["mIoU"] is not None


@pytest.mark.gpu
def test_recomputed_is_the_same_on_a_gpu(data: Path, tmp_path: Path) -> None:
    results = []
    for level in ("none", "units", "blocks"):
        config = tiny_config(data, "train.device=cuda", "train.deterministic=true", f"train.recompute={level}")
        run_training(config, tmp_path / level, quiet=True)
        results.append(weights(tmp_path / level))
    for other in results[1:]:
        assert all(torch.equal(results[0][name], other[name]) for name in other)
