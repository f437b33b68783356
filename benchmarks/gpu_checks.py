"""What `gpu_records.py` checks beside the times: a GPU computes what the CPU does, waits as rarely as stated, repeats to the bit.

Each function gives facts for the record and raises AssertionError where one does not hold.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_speed import Net, batch_of, our_step, seconds_a_step
from toolkit.backbones.vgg import Vgg
from toolkit.engine.prepare import trained_groups, trained_module
from toolkit.engine.process import allow_tf32, gathered, leave, sum_over_processes
from toolkit.engine.settings import TrainSettings
from toolkit.heads.pixel import PixelHead
from toolkit.layers.recomputed import recompute
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import read_weights
from toolkit.necks.index_unpool import IndexUnpool
from toolkit.ops.kept_bytes import kept_for_backward
from toolkit.ops.pooling import Storage

ROOT = Path(__file__).resolve().parents[1]
Facts = dict[str, Any]
FEW_SHAPES = [f"data.{split}.dataset.count_{kind}=4" for split in ("train", "val") for kind in ("train", "val")]
FEW_SHAPES += ["data.batch_size=2"]
"""Overrides of configs/tiny/unet_shapes.yaml for a toy."""


def pytest_on_gpu(device: torch.device) -> Facts:
    """The tests marked `gpu`, in the files that have some; needs pytest."""
    files = [str(path) for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.gpu" in path.read_text("utf-8")]
    if device.type != "cuda":
        return {"left out": f"no CUDA device; {len(files)} files have some"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "gpu", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=90, check=False)
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""])[-1]
    assert done.returncode == 0, last
    return {"pytest": last}


def same_as_cpu(nets: dict[str, Net], device: torch.device) -> Facts:
    """Loss and gradients of the dense nets, raw outputs of the detector, in float32 without TF32."""
    if device.type != "cuda":
        return {name: _difference(net, device) for name, net in nets.items()}
    allow_tf32(False)
    try:
        return {name: _difference(net, device) for name, net in nets.items()}
    finally:
        allow_tf32(True)


def _difference(net: Net, device: torch.device) -> float:
    torch.manual_seed(0)
    model = net.ours().eval()  # dropout and sampled boxes draw other numbers on other devices
    numbers = []
    for place in (torch.device("cpu"), device):
        model.to(place).zero_grad(set_to_none=True)
        batch = batch_of(net, 1, net.small, place)
        if net.boxes:
            with torch.no_grad():
                outputs = _tensors(model(batch.images))
            numbers.append(torch.stack([output.double().abs().mean().cpu() for output in outputs]))
        else:
            torch.stack(list(model.loss(batch).values())).sum().backward()
            norms = [p.grad.double().norm().cpu() for p in model.parameters() if p.grad is not None]
            numbers.append(torch.stack(norms))
    gap = float(((numbers[0] - numbers[1]).abs() / numbers[0].abs().clamp_min(1e-6)).median())
    assert gap < 1e-3, f"differs from the CPU by {gap:.1e} of its size"
    return gap


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() and value.numel() else []
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, (list, tuple)) else []


def waits_of_a_step(nets: dict[str, Net], device: torch.device) -> Facts:
    """How often a step makes the host wait, as CUDA itself tells; the tests' rehearsal states the same on a CPU."""
    if device.type != "cuda":
        return {"left out": "no CUDA device"}
    found: Facts = {}
    for name, net in nets.items():
        step = our_step(net.ours(), batch_of(net, 1, net.small, device), {}, device)
        step()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        found[name] = sum("synchroniz" in str(warning.message) for warning in told)
    return found


def segnet(storage: Storage, depth: int) -> VisionModel:
    """SegNet on VGG whose pooling indices are kept as PyTorch's, as bytes or as two bits."""
    backbone = Vgg(depth, batch_norm=True, pool_indices=True, ceil_mode=True, index_storage=storage)
    neck = IndexUnpool(backbone.spec)
    return VisionModel(backbone, neck, PixelHead(neck.spec, 11, kernel_size=3), [str(label) for label in range(11)])


def memory(device: torch.device, size: tuple[int, int], depth: int, seconds: float) -> Facts:
    """SegNet-VGG, batch of 4: bytes kept for backward, seconds of a step, by index storage and recomputation."""
    found: Facts = {}
    ways: list[tuple[Storage, Any]] = [("int64", "none"), ("uint8", "none"), ("packed", "none"), ("uint8", "units"),
                                       ("uint8", "blocks")]  # fmt: skip
    for storage, level in ways:
        model = segnet(storage, depth).to(device).train()
        batch = batch_of(Net(lambda: model, size, size, 4), 4, size, device)  # noqa: B023 - only its classes are read
        recompute(model, level)
        with kept_for_backward(model) as kept:
            loss = torch.stack(list(model.loss(batch).values())).sum()
        number = kept.bytes
        del loss
        taken, peak = seconds_a_step(our_step(model, batch, {}, device), device, seconds)
        found[f"{storage} indices, recompute {level}"] = {"kept_bytes": number, "peak_bytes": peak, "seconds": taken}
    return found


def one_process_ddp(net: Net, device: torch.device) -> Facts:
    """NCCL (gloo on a CPU) with one process: gradients are those without, sums and gathered values come back."""
    from lightning_fabric import Fabric

    settings = TrainSettings(steps=1, device=device.type)  # type: ignore[arg-type]
    batch = batch_of(net, 2, net.small, device)
    gradients = []
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    for strategy in ("auto", "ddp"):
        fabric = Fabric(accelerator=device.type, devices=1, strategy=strategy)
        fabric.launch()
        torch.manual_seed(0)
        model = net.ours()
        module = trained_module(fabric, model, settings)
        module, _ = fabric.setup(module, torch.optim.AdamW(trained_groups(model, 1e-4, settings), 1e-4, fused=True))
        fabric.backward(torch.stack(list(module(batch).values())).sum())
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    backend = torch.distributed.get_backend()
    total = sum_over_processes(torch.ones(3, device=device))
    assert total.tolist() == [1.0] * 3
    assert gathered(fabric, "a word") == ["a word"]
    gap = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in zip(*gradients, strict=True))
    assert gap < 1e-2, f"gradients differ by {gap:.1e} of the largest"
    leave(fabric)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return {"backend": backend, "largest difference": gap}


def resumes_to_the_bit(device: torch.device, folder: Path, toy: bool) -> Facts:
    """A training under `deterministic` that SIGTERM stops and `--resume` ends has the weights of the unbroken one."""
    steps = 12 if toy else 60
    config = ["configs/tiny/unet_shapes.yaml", f"data.root={folder / 'shapes'}", f"train.steps={steps}",
              "train.evaluate_every=null", "train.save_every=2", "train.log_every=2", "train.deterministic=true",
              f"train.device={device.type}", "data.workers=0", "train.warmup_steps=4", *(FEW_SHAPES if toy else [])]  # fmt: skip
    _train(config, folder / "whole")
    stopped = subprocess.Popen(
        _command(config, folder / "parts"), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL
    )
    while stopped.poll() is None and not (folder / "parts" / "last.state").exists():
        time.sleep(0.05)
    if stopped.poll() is None:
        stopped.send_signal(signal.SIGTERM)
    code = stopped.wait(120)
    assert code in (0, 130), f"the stopped training ended with {code}"
    if code == 130:
        _train([*config, "--resume"], folder / "parts")
    one, other = (read_weights(folder / name / "last.safetensors")[0] for name in ("whole", "parts"))
    differ = [name for name in one if not torch.equal(one[name], other[name])]
    assert not differ, f"{len(differ)} of {len(one)} tensors differ, {differ[0]} first"
    return {"steps": steps, "stopped": code == 130, "tensors equal": len(one)}


def _command(config: list[str], run: Path) -> list[str]:
    return [sys.executable, "-m", "toolkit", "train", *config, "--run", str(run)]


def _train(config: list[str], run: Path) -> None:
    done = subprocess.run(
        _command(config, run), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr.strip()[-300:]


def environment() -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": paths, "NO_ALBUMENTATIONS_UPDATE": "1"}
