"""What a run says: one screen at the start, time after three steps, numbers in the log, a bar on a terminal, and no more."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from run_laws import assert_same_run
from tiny_run import tiny_config, write_tiny

from toolkit.engine import periodic
from toolkit.engine.log import RunLog
from toolkit.engine.machine import crowding, usable_cores
from toolkit.engine.periodic import learning_rates, memory_mib
from toolkit.engine.step import gradient_norm
from toolkit.errors import UserError
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.jobs import start_screen
from toolkit.jobs.train import run_training
from toolkit.ops.native import WithoutKernels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


def said(run: Path) -> list[str]:
    return (run / "train.log").read_text().splitlines()


def test_the_start_screen(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_screen, "without_kernels", lambda: WithoutKernels("no compiler", "install one"))
    options = [
        "train.accumulate=2", "train.ema_decay=0.5", "train.patience=3", "train.clip_norm=1.0", "train.warmup_steps=2",
        "train.frozen=[neck]", "train.backbone_lr_factor=0.5", "train.channels_last=auto",
    ]  # fmt: skip
    run_training(tiny_config(data, *options), tmp_path / "run", quiet=True)
    lines = said(tmp_path / "run")
    screen = lines[: next(i for i, line in enumerate(lines) if line.startswith("time"))]
    assert len(screen) < 24
    text = "\n".join(screen)
    assert "data       6 train, 3 val; 7 classes: background, circle" in text
    assert "training   8 steps of 4 images (batch 2 x accumulate 2) = 5.3 epochs" in text
    assert "rate       adamw, lr 0.01, cosine, warm-up 2 steps" in text
    assert "evaluate   every 4 steps and at the end, on 3 images: semantic" in text
    assert text.count("kernels    no compiler: ") == 1
    assert "channels first (auto: last pays with mixed precision on a GPU)" in text
    assert "averaged weights (0.5), early stop after 3 evaluations, gradients clipped at 1" in text
    assert re.search(r"device     cpu x 1, 32-true; 1 thread\(s\), 0 loader worker\(s\), \d+ core", text)
    counts = re.search(r"([\d,]+) parameters, ([\d,]+) trained; frozen: neck", text)
    assert counts
    every, trained = (int(number.replace(",", "")) for number in counts.groups())
    grouped = [int(n.replace(",", "")) for n in re.findall(r"group .*?, ([\d,]+) numbers", text)]
    assert sum(grouped) == trained < every


def test_the_time_is_told_once_after_three_steps(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_training(tiny_config(data, "train.log_every=1"), tmp_path / "run", quiet=True)
    lines = said(tmp_path / "run")
    (place,) = [i for i, line in enumerate(lines) if line.startswith("time")]
    assert re.match(
        r"time       about \d:\d\d:\d\d: 5 more steps of [\d.e-]+ s and 2 evaluations of about ", lines[place]
    )
    assert lines[place - 1].startswith("step 2/8")
    assert lines[place + 1].startswith("step 3/8")


def test_a_run_too_short_for_its_averages_is_told(data: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data, "train.ema_decay=0.999", "train.steps=1"), tmp_path / "run", quiet=True)
    assert "note       ema_decay 0.999 averages about 1000 steps: too many for this run" in said(tmp_path / "run")


def test_crowded_cores() -> None:
    assert crowding(threads=2, processes=1, workers=2, cores=2, load=1.0, machine=2) == []
    assert crowding(4, 2, 0, 4, 0.0, 8) == ["8 threads (2 processes of 4) share 4 core(s): set train.threads to 2"]
    assert crowding(1, 2, 3, 4, 0.0, 8) == ["6 loader processes share 4 core(s): lower data.workers"]
    (busy,) = crowding(1, 1, 0, 2, 3.0, 2)
    assert busy.startswith("other work keeps the machine busy (load 3.0 on 2 core(s))")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_a_containers_quota_counts(
    tmp_path: Path, files: dict[str, str], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores


# ------------------------------------------------------------------------------------------------------ numbers


def test_every_log_event_has_speed_memory_and_gradient(data: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data, "train.backbone_lr_factor=0.1"), tmp_path / "run", quiet=True)
    raw = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for event in (event for event in raw if "loss" in event):
        assert event["images_per_second"] > 0
        assert 0 <= event["data_wait"] <= 1
        assert 50 < event["memory_mib"] < 100_000
        assert event["gradient_norm"] > 0
        assert event["lr"] == event["lr/model"] == pytest.approx(10 * event["lr/backbone"])


def test_one_rate_is_said_once() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups: list[dict[str, Any]] = [{"params": [w], "name": name} for w, name in zip(weights, "ab", strict=True)]
    assert learning_rates(torch.optim.SGD(groups, 0.1)) == {"lr": 0.1}


def _resident_mib() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_resident_memory_is_what_the_system_says() -> None:
    block = torch.ones(64 * 2**20 // 4)  # 64 MiB, touched
    before, found, after = _resident_mib(), memory_mib(torch.device("cpu")), _resident_mib()
    assert 0.95 * min(before, after) < found < 1.05 * max(before, after)  # threads of the process may work meanwhile
    assert block.sum() > 0


def test_the_gradient_norm_is_the_norm_and_clipping_is_pytorchs() -> None:
    class Fabric:
        class strategy:  # noqa: N801
            precision = None

    nets = [torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(5, 3)
    for net in nets:
        net(x).square().sum().backward()
    norm = gradient_norm(Fabric, torch.optim.SGD(nets[0].parameters(), 0.1), 0.3)
    theirs = torch.nn.utils.clip_grad_norm_(nets[1].parameters(), 0.3)
    assert torch.equal(norm, theirs)
    for ours, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(ours.grad, other.grad)


# ------------------------------------------------------------------------------------------------------ terminals

COMMAND = [sys.executable, "-m", "toolkit", "train"]


def test_a_terminal_gets_a_bar_with_time_left_and_no_colour(data: Path, tmp_path: Path) -> None:
    config = str(write_tiny(tmp_path, data))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*COMMAND, config, "train.steps=60", "train.evaluate_every=null", "--run", str(tmp_path / "run")],
        stderr=theirs, stdout=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = seen.decode()
    assert re.search(r"\rtrain \[#+-*\] \d+/60  [\d.e+]+ step/s  eta \d:\d\d:\d\d", text)
    assert "\x1b[" not in text


def test_a_file_gets_plain_lines(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_training(tiny_config(data), tmp_path / "run")
    out, err = capfd.readouterr()
    assert "\r" not in err
    assert "\x1b" not in err
    assert out == ""
    assert [line for line in err.splitlines() if line.startswith("step 3/8")]


# ------------------------------------------------------------------------------------------------------ full disks


def test_a_full_disk_leaves_whole_lines_and_one_sentence(tmp_path: Path) -> None:
    """The limit on the size of files makes the system take a part of a line, as a disk that fills up does."""
    resource = pytest.importorskip("resource")
    log = RunLog(tmp_path / "metrics.jsonl", None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    log.event(step=1, loss=1.0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
        with pytest.raises(UserError, match=r"metrics\.jsonl"):
            log.event(step=2, loss=2.0, much="x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.event(step=2, loss=2.0)
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("file", ["metrics.jsonl", pytest.param("train.log", marks=pytest.mark.slow)])
def test_a_disk_full_at_a_log_line_keeps_the_last_state(
    data: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_training(tiny_config(data), tmp_path / "whole", quiet=True)
    real, lines = RunLog._append, [0]

    def full(path: Path, line: str) -> None:
        lines[0] += path.name == file and "step" in line
        if path.name == file and lines[0] > 3:
            path = Path("/dev/full")
        real(path, line)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "_append", staticmethod(full))
        with pytest.raises(UserError, match=r"No space left on device; free space"):
            run_training(tiny_config(data), tmp_path / "run", quiet=True)
    run_training(tiny_config(data), tmp_path / "run", resume=True, quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("file", [pytest.param("best.safetensors", marks=pytest.mark.slow), "last.safetensors"])
def test_a_disk_full_at_the_weights_keeps_the_former_ones(
    data: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    rising = iter(range(1, 100))  # every evaluation is the best
    monkeypatch.setattr(SemanticEvaluator, "compute", lambda self: {"mIoU": next(rising) / 100})
    monkeypatch.setattr(SemanticEvaluator, "tables", lambda self: [])
    run_training(tiny_config(data, "train.steps=4"), tmp_path / "run", quiet=True)
    before = (tmp_path / "run" / file).read_bytes()
    real = safetensors.torch.save_file

    def full(tensors: Any, path: Any, metadata: Any = None) -> None:
        real(tensors, path, metadata)
        if file in str(path):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(UserError, match="safetensors"):
            run_training(tiny_config(data, "train.steps=8"), tmp_path / "run", resume=True, quiet=True)
    assert (tmp_path / "run" / file).read_bytes() == before
    assert not list((tmp_path / "run").glob(".*"))


def test_evaluations_that_come_are_counted_with_the_one_at_the_end() -> None:

    class Settings:
        steps, evaluate_every = 10, 4

    assert periodic._evaluations(Settings, 3) == 3  # type: ignore[arg-type]
    Settings.evaluate_every = 5
    assert periodic._evaluations(Settings, 3) == 2  # type: ignore[arg-type]
    Settings.evaluate_every = None  # type: ignore[assignment]
    assert periodic._evaluations(Settings, 3) == 1  # type: ignore[arg-type]
