"""Several processes train and measure what one does, and end together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fresh_process import wait_for
from safetensors.torch import load_file
from tiny_detection import TINY_DETECTION, tiny_detection_config
from tiny_run import TINY, tiny_config

from toolkit.engine.checkpoint import load_state
from toolkit.engine.finite import load_bad_batch
from toolkit.jobs.evaluate import RecordWishes, run_evaluation
from toolkit.jobs.train import run_training
from toolkit.results.record import Record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]  # every process has SECONDS

REPOSITORY = Path(__file__).resolve().parents[2]
# Batch statistics and dropout are each process' own; without them the two trainings are the same sums.
PLAIN = ["model.backbone.norm=none", "model.neck.norm=none", "model.backbone.dropout=0.0", "train.log_every=1"]
SECONDS = 480  # nobody takes that long; a process that waits for another that has ended takes half an hour


def torchrun(folder: Path, config: str, *arguments: str) -> subprocess.Popen[str]:
    """`torchrun --nproc-per-node 2 tools/train.py CONFIG ...`, without the `--` that some put before the script."""
    file = folder / "config.yaml"
    file.write_text(config)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(REPOSITORY / "tools" / "train.py"), str(file), *arguments]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=env)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr); a hang is a failure."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("the processes hang")
    return process.returncode, out, err


def two(folder: Path, data: Path, *overrides: str, config: str = TINY) -> Path:
    """A run of two processes, finished."""
    run = folder / "two"
    code, _, err = finished(torchrun(folder, config, f"data.root={data}", *overrides, "--run-folder", str(run)))
    assert code == 0, err[-3000:]
    assert err.count("done: ") == 1  # one process speaks
    return run


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_curve(one: Path, two: Path, rel: float = 1e-4, *, terms: bool = True) -> None:
    first, second = events(one), events(two)
    assert [event["step"] for event in first] == [event["step"] for event in second]
    losses = 0
    for a, b in zip(first, second, strict=True):
        for name in a:
            if name == "loss" or (terms and name.startswith("loss/")):
                losses += 1
                assert b[name] == pytest.approx(a[name], rel=rel, abs=1e-6), (a["step"], name)
    assert losses >= 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["train.accumulate=2", "train.clip_norm=0.1", "train.ema_decay=0.9"],
        ["train.freeze_until={backbone: 3}", "train.optimizer={name: sgd, lr: 0.1, weight_decay: 0.01}"],
        ["model.head.loss={name: weighted_sum, losses: [cross_entropy, dice, {name: tversky, gamma: 2.0}]}"],
    ],
    ids=["plain", "accumulated, clipped, averaged", "late backbone", "ratios of sums"],
)
def test_two_processes_are_one(data: Path, tmp_path: Path, options: list[str]) -> None:
    run_training(tiny_config(data, *PLAIN, *options), tmp_path / "one", quiet=True)
    both = two(tmp_path, data, *PLAIN, *options)
    assert_same_curve(tmp_path / "one", both)
    assert events(both)[-1]["val/mIoU"] == pytest.approx(events(tmp_path / "one")[-1]["val/mIoU"], abs=1e-3)
    first, second = (load_file(run / "last.safetensors") for run in (tmp_path / "one", both))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("at", [4, 5], ids=["first batch of a step", "its last"])
def test_a_gradient_that_is_not_finite_is_the_guilty_process_and_batch(data: Path, tmp_path: Path, at: int) -> None:
    """All learn of it by the norm; the first process, whose batches are innocent, names the other's."""
    overrides = [
        f"data.root={data}",
        *PLAIN,
        "train.accumulate=2",
        "train.evaluate_every=null",
        "train.save_every=null",
    ]
    overrides += [f"model.head.loss={{name: 'faulty_loss:FaultyLoss', fault: gradient, rank: 1, at: {at}}}"]
    run = tmp_path / "two"
    code, _, err = finished(torchrun(tmp_path, TINY, *overrides, "--run-folder", str(run)))
    assert code != 0
    (path,) = run.glob("*nonfinite_batch.state")
    assert path.name == "rank1_nonfinite_batch.state"
    bad = load_bad_batch(path)
    assert (
        f"its gradient is not at step 3: gradient_norm nan; images of the batch ({at - 3} of 2 of the step, process 2 of 2)"
        in err
    )
    assert ", ".join(bad.batch.names) in err
    assert bad.step == 2


def test_synchronised_batch_norm_sees_the_whole_batch(data: Path, tmp_path: Path) -> None:
    options = ["model.backbone.dropout=0.0", "train.log_every=1", "train.recompute_bn=2", "data.batch_size=4"]
    run_training(tiny_config(data, *options), tmp_path / "one", quiet=True)
    both = two(tmp_path, data, *options, "train.sync_bn=true")
    assert_same_curve(tmp_path / "one", both, rel=2e-3)
    evaluated = run_evaluation(both / "last.safetensors")["metrics"]
    assert {
        name.removeprefix("val/"): value for name, value in events(both)[-1].items() if name.startswith("val/m")
    } == {name: value for name, value in evaluated.items() if name.startswith("m")}


def test_two_processes_train_one_detector(data: Path, tmp_path: Path) -> None:
    """Which boxes are sampled is each process' own draw: here all are taken. Their number differs from image to image,
    and the mean over them with it, a little. The evaluation is the same exactly."""
    options = [
        "train.log_every=1",
        "train.optimizer.lr=0.001",
        "model.head.roi.dropout=0.0",
        "model.backbone.norm=none",
    ]
    options += ["model.head.rpn.samples=100000", "model.head.roi.samples=1000", "data.train.transforms=[]"]
    boxes = tmp_path / "boxes"
    run_training(tiny_detection_config(boxes, *options), tmp_path / "one", quiet=True)
    both = two(tmp_path, boxes, *options, config=TINY_DETECTION)
    assert_same_curve(tmp_path / "one", both, rel=0.03, terms=False)
    metrics = run_evaluation(both / "last.safetensors")["metrics"]
    assert {name: events(both)[-1][f"val/{name}"] for name in metrics} == metrics


@pytest.mark.parametrize("images", [1, 3])
def test_evaluation_equals_one_process_exactly(data: Path, tmp_path: Path, images: int) -> None:
    """Uneven shares, and none for the second process; batch statistics and dropout as they are."""
    count = [f"data.{split}.dataset.count_val={images}" for split in ("train", "val")]
    root = data.parent / f"of_{images}"
    run = two(tmp_path, root, *count, "train.steps=4", "data.workers=1", "evaluate.record=true")
    both, table = Record.read(run / "evaluation" / "val"), (run / "evaluation" / "val" / "per_image.csv").read_bytes()
    found = {name.removeprefix("val/"): value for name, value in events(run)[-1].items() if name.startswith("val/")}
    alone = run_evaluation(run / "last.safetensors", wishes=RecordWishes(out=tmp_path / "last"))["metrics"]
    assert alone == {name: found[name] for name in alone}
    run_evaluation(run, wishes=RecordWishes(out=tmp_path / "alone"))
    assert (tmp_path / "alone" / "per_image.csv").read_bytes() == table
    one = Record.read(tmp_path / "alone")
    assert (one.images, one.groups) == (both.images, both.groups)
    assert np.array_equal(one.confusion, both.confusion)


FAULTY = "model.head.loss={{name: 'faulty_loss:FaultyLoss', fault: {}, rank: {}, at: {}, seconds: {}}}"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("exception", "the sky fell in process 1"),
        ("data", "images/7.png: is cut short; copy it again"),
        ("kill", "SIGKILL|Signal 9|exitcode: -9"),
    ],
)
def test_the_crash_of_one_ends_all_with_its_error(data: Path, tmp_path: Path, fault: str, said: str) -> None:
    run = tmp_path / "run"
    options = [f"data.root={data}", FAULTY.format(fault, 1, 3, 0.0), "train.save_every=1", "train.steps=50"]
    code, out, err = finished(torchrun(tmp_path, TINY, *options, "--run-folder", str(run), "--json"))
    assert code not in (0, None)
    assert re.search(said, err), err[-3000:]
    assert out.count('"ok"') <= 1
    assert "process 1 of 2: stops because another process ended" in err
    assert load_state(run / "last.state").step == 3  # what was saved is whole


@pytest.mark.parametrize("to", ["one process", "torchrun"])
def test_a_stop_is_one_saved_step_in_all(data: Path, tmp_path: Path, to: str) -> None:
    """SIGTERM to a single process, and to the launcher, which passes it on: saved once, and continued to the same end."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    fault = "terminate" if to == "one process" else "none"
    options = [f"data.root={data}", "train.save_every=null", "train.steps=60", "train.evaluate_every=null"]
    slow = FAULTY.format(fault, 1, 4, 0.3)
    process = torchrun(tmp_path, TINY, *options, slow, "--run-folder", str(run))
    if to == "torchrun":
        wait_for(lambda: "step 3/" in _text(run / "train.log"), process)
        process.send_signal(signal.SIGTERM)
    code, _, err = finished(process)
    assert code != 0
    assert "Traceback" not in err.split("torch/distributed")[0], err[-3000:]
    stopped = load_state(run / "last.state").step
    assert 3 <= stopped < 60
    if to == "one process":
        assert stopped == 5  # the signal comes in the fifth step
    quick = FAULTY.format("none", 1, 4, 0.0)
    arguments = [*options, quick, "--run-folder"]
    code, _, err = finished(torchrun(tmp_path, TINY, *arguments, str(run), "--resume", "--allow-changes"))
    assert code == 0, err[-3000:]
    code, _, err = finished(torchrun(tmp_path, TINY, *arguments, str(whole)))
    assert code == 0, err[-3000:]
    first, second = (load_file(folder / "last.safetensors") for folder in (run, whole))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [event["step"] for event in events(whole)] == [
        event["step"] for event in events(run) if "changed" not in event
    ]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
