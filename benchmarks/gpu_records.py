"""All that a GPU is asked in nine minutes: `records` (at most four) and `camvid` (at most five); one JSON comes out.

    python -m benchmarks.gpu_records [--section records camvid] [--camvid FOLDER] [--out FILE] [--toy]

The machine needs PyTorch alone. Everything else is carried there as wheels, without a second PyTorch:

    pip download --no-deps -d wheels $(pip list --format=freeze | grep -v -i -E '^(torch|torchvision|triton|nvidia|toolkit)')
    pip install --no-index --no-deps --target carried wheels/*.whl && export PYTHONPATH=$PWD/carried:$PWD

(torchvision has to fit the machine's torch: carry its wheel if the machine has none.) A peer that is not there, a way that
a chip cannot go and an item for which no time is left are named in the record, and the rest goes on. `--toy` does all of it
at toy size on a CPU. Results are kept as benchmarks/results/gpu/CHIP/DATE.json, which docs/speed.md shows.

records: checks (tests marked `gpu`, GPU against CPU, waits of a step, one process of NCCL, resume to the bit), images a second and
share of the chip's peak of four nets in bf16, fp16, TF32 and float32, channels last and compiled, beside a bare loop and
others' nets; memory with compact indices and recomputation. camvid: a training of `unet_resnet34_camvid` in bf16, and the
seconds after which each score was reached.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_checks, kept
from benchmarks.gpu_speed import (
    COMPILED,
    NETS,
    TOY_NETS,
    WAYS,
    Net,
    Step,
    bare_ours,
    batch_of,
    operations_an_image,
    our_step,
    peak_of,
    peer_step,
    seconds_a_step,
)  # fmt: skip
from benchmarks.machine import described

BUDGETS = {"records": 240.0, "camvid": 300.0}


class Section:
    """Items done one after the other while time is left; what fails or is left out is said, and the others go on."""

    def __init__(self, name: str, budget: float) -> None:
        self.name, self.ends = name, time.monotonic() + budget
        self.items: list[dict[str, Any]] = []

    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    def item(self, name: str, work: Callable[[], dict[str, Any]], least: float = 5.0) -> dict[str, Any]:
        """Does it, if at least `least` seconds are left; gives what is recorded."""
        began, found = time.monotonic(), {}
        if self.left() < least:
            found = {"left out": f"{self.left():.0f} s were left, wants {least:.0f}"}
        else:
            try:
                found = work()
            except Exception as error:
                found = {"failed": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:300]}
        entry = {"section": self.name, "item": name, **found, "took": round(time.monotonic() - began, 1)}
        self.items.append(entry)
        print(json.dumps(entry), flush=True)
        return entry


def records(section: Section, device: torch.device, toy: bool) -> None:
    """Checks first, quick ways of every net next, memory, and what takes long (compiling) last."""
    nets, seconds = (TOY_NETS, 0.01) if toy else (NETS, 2.0)
    dense = [name for name, net in nets.items() if not net.boxes]
    section.item("GPU against CPU", lambda: gpu_checks.same_as_cpu(nets, device))
    section.item("waits of a step", lambda: gpu_checks.waits_of_a_step(nets, device))
    peak = section.item("peak, operations a second", lambda: peak_of(device))
    for name, net in nets.items():
        speeds(section, name, net, device, peak, seconds)
    shape = ((32, 64), 11) if toy else ((360, 480), 16)
    section.item("memory of SegNet-VGG16, batch 4", lambda: gpu_checks.memory(device, *shape, seconds / 2))
    section.item("one process of NCCL", lambda: gpu_checks.one_process_ddp(nets[dense[-1]], device))
    with tempfile.TemporaryDirectory() as folder:
        section.item("resume to the bit", lambda: gpu_checks.resumes_to_the_bit(device, Path(folder), toy), least=50)
    section.item("tests marked gpu", lambda: gpu_checks.pytest_on_gpu(device), least=40)
    for name in reversed(dense) if device.type == "cuda" else ():
        for way, options in COMPILED.items():
            step = partial(our_way, nets[name], options, device)
            section.item(f"{name}: {way}", partial(speed, nets[name], step, device, {}, peak, seconds), least=60)


def our_way(net: Net, options: dict[str, Any], device: torch.device, batch: Any) -> Step:
    return our_step(net.ours(), batch, options, device)


def speeds(section: Section, name: str, net: Net, device: torch.device, peak: dict[str, Any], seconds: float) -> None:
    """Every way of a net, then a bare loop around it, then its peers."""
    flops = section.item(f"{name}: operations an image", lambda: operations(net, device))
    ways: dict[str, Callable[[Any], Step]] = {f"toolkit, {way}": partial(our_way, net, options, device)
                                              for way, options in WAYS.items()}  # fmt: skip
    ways["our net in a bare loop, bf16, channels last"] = lambda batch: bare_ours(net.ours(), batch, device)
    for peer, make in net.peers.items():
        ways[f"{peer} in a bare loop, bf16, channels last"] = lambda batch, make=make: peer_step(
            net, make(net.size), batch, device
        )
    if device.type != "cuda":
        ways = {way: step for way, step in ways.items() if "fp16" not in way}  # needs a GPU, as the toolkit says
    for way, step in ways.items():
        section.item(f"{name}: {way}", partial(speed, net, step, device, flops, peak, seconds))


def operations(net: Net, device: torch.device) -> dict[str, Any]:
    batch = batch_of(net, 1, net.size, device)
    stated = {"published": net.published} if net.published else {}
    return {"operations": operations_an_image(net.ours().to(device), batch), **stated}


def speed(
    net: Net,
    make: Callable[[Any], Step],
    device: torch.device,
    flops: dict[str, Any],
    peak: dict[str, Any],
    looked: float,
) -> dict[str, Any]:
    """Images a second, share of the peak, peak memory; the batch is halved where memory ends."""
    number = net.batch
    while True:
        torch.manual_seed(0)
        batch = batch_of(net, number, net.size, device)
        try:
            seconds, peak_bytes = seconds_a_step(make(batch), device, looked)
            break
        except torch.OutOfMemoryError:
            if number == 1:
                raise
            number //= 2
        torch.cuda.empty_cache()
    found: dict[str, Any] = {"batch": number, "images_a_second": number / seconds, "peak_bytes": peak_bytes}
    if "operations" in flops:
        rate = flops["operations"] * number / seconds
        found |= {f"share_of_{kind}_peak": rate / peak[kind] for kind in ("stated", "measured") if peak.get(kind)}
    return found


def camvid(section: Section, device: torch.device, data: Path | None, toy: bool) -> None:
    """Seconds until each mIoU of the validation set, in one training; data are kept on the device where that is offered."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        if toy:
            config = ["configs/tiny/unet_shapes.yaml", f"data.root={folder}/shapes", "train.steps=4", "train.evaluate_every=2",
                      "data.workers=0", "train.log_every=2", "train.warmup_steps=1", *gpu_checks.FEW_SHAPES]  # fmt: skip
        elif data is None:
            section.item("time to a CamVid score", lambda: {"left out": "no data: give --camvid FOLDER"})
            return
        else:
            config = ["configs/unet_resnet34_camvid.yaml", f"data.root={data}", "model.backbone.weights=null",
                      "train.precision=bf16-mixed", "train.channels_last=true", "train.evaluate_every=100"]  # fmt: skip
        config.append(f"train.device={device.type}")
        section.item("time to a CamVid score", lambda: time_to_score(config, run, section.left() - 10), least=2)


def time_to_score(config: list[str], run: Path, seconds: float) -> dict[str, Any]:
    """Trains until the end or for so many seconds; the curve with the seconds, from the command on, of each evaluation."""
    command = [sys.executable, "-m", "toolkit", "train", *config, "--run", str(run)]
    began, curve = time.monotonic(), []
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, cwd=gpu_checks.ROOT, env=gpu_checks.environment(), stderr=told)
        while process.poll() is None and time.monotonic() - began < seconds:
            time.sleep(0.2)
            curve += _timed(curve_of(run)[len(curve) :], time.monotonic() - began)
        process.terminate()
        process.wait(60)
        curve += _timed(curve_of(run)[len(curve) :], time.monotonic() - began)
        told.seek(0)
        assert curve, told.read().strip()[-300:] or f"ended with {process.returncode} before an evaluation"
    return {"config": config[0], "curve": curve, "best": max(point["mIoU"] for point in curve)}


def _timed(points: list[dict[str, float]], seconds: float) -> list[dict[str, float]]:
    return [{**point, "seconds": round(seconds, 1)} for point in points]


def curve_of(run: Path) -> list[dict[str, float]]:
    """Step and mIoU of each evaluation in a run's metrics.jsonl, as far as it has got."""
    path = run / "metrics.jsonl"
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0] if path.exists() else ""
    lines = [json.loads(line) for line in whole.splitlines()]
    return [{"step": line["step"], "mIoU": line["val/mIoU"]} for line in lines if line.get("val/mIoU") is not None]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--camvid", type=Path, help="folder of CamVid, as the config wants it")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--toy", action="store_true", help="toy sizes, on a CPU if there is no GPU")
    arguments = parser.parse_args(words)
    if not torch.cuda.is_available() and not arguments.toy:
        print("this machine has no CUDA device; --toy runs everything at toy size on the CPU", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"  # of the trainings that are started
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    items: list[dict[str, Any]] = []
    for name in arguments.section:
        section = Section(name, BUDGETS[name] * (10 if arguments.toy else 1))
        if name == "records":
            records(section, device, arguments.toy)
        else:
            camvid(section, device, arguments.camvid, arguments.toy)
        items += section.items
    now = datetime.now()
    table = {"when": f"{now:%Y-%m-%dT%H:%M}", "chip": chip, **described(), "cuda": torch.version.cuda, "lines": items}
    path = arguments.out or kept.new_path(f"gpu/{chip.lower().replace(' ', '-')}", now)
    kept.write(table, path)
    print(f"written to {path}")
    return int(any("failed" in item for item in items))


if __name__ == "__main__":
    sys.exit(main())
