"""Parts with rates, late parts and frozen batch norms in whole jobs: what moves, what is said, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import tiny_config

from toolkit.errors import ConfigError
from toolkit.jobs.train import run_training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


def moved(data: Path, folder: Path, steps: int, *options: str) -> set[str]:
    """Tensors that `steps` steps change, against none: the first save of the same seed."""
    run_training(tiny_config(data, "train.steps=1", "train.optimizer.lr=1e-30", *options), folder / "start", quiet=True)
    run_training(tiny_config(data, f"train.steps={steps}", *options), folder / "run", quiet=True)
    before, after = load_file(folder / "start/last.safetensors"), load_file(folder / "run/last.safetensors")
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_frozen_batch_norms_change_nothing_of_theirs(data: Path, tmp_path: Path) -> None:
    """Not in training, not by statistics computed anew at the end, not by evaluations in between or the average."""
    options = ["train.frozen_bn=[backbone]", "train.recompute_bn=2", "train.evaluate_every=2", "train.ema_decay=0.5"]
    changed = moved(data, tmp_path, 6, *options)
    norms = {name.rpartition(".")[0] for name in load_file(tmp_path / "run/last.safetensors") if "running_mean" in name}
    ours = {name for name in norms if name.startswith("backbone")}
    assert ours and norms - ours  # noqa: PT018
    for norm in norms:
        parts = {name for name in changed if name.startswith(f"{norm}.")}
        assert not parts if norm in ours else {f"{norm}.running_mean", f"{norm}.weight"} <= parts, norm
    assert any(name.startswith("backbone") for name in changed)  # its convolutions are trained


def test_a_late_part_is_bitwise_its_start_until_its_step(data: Path, tmp_path: Path) -> None:
    options = ["train.freeze_until={backbone: 4}", "train.optimizer.weight_decay=0.1", "train.clip_norm=0.5"]
    early = moved(data, tmp_path / "a", 4, *options)
    assert {name for name in early if name.startswith("backbone")} == {
        name for name in early if name.startswith("backbone") and ("running" in name or "batches" in name)
    }
    late = moved(data, tmp_path / "b", 5, *options)
    assert "backbone.levels.0.0.conv.weight" in late


def test_the_log_says_the_groups(data: Path, tmp_path: Path) -> None:
    run_training(tiny_config(data, "train.steps=1", "train.layer_decay=0.5"), tmp_path / "run", quiet=True)
    lines = [line for line in (tmp_path / "run/train.log").read_text().splitlines() if line.startswith("group ")]
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in lines] == [
        "backbone, layer -3", "backbone, layer -2", "backbone, layer -1", "model",
    ]  # fmt: skip
    assert [line.split("lr ")[1].split(",")[0] for line in lines] == ["0.00125", "0.0025", "0.005", "0.01"]


@pytest.mark.parametrize(
    "option",
    [
        "train.lr_factors={bakbone: 0.1}",
        "train.freeze_until={backbne: 3}",
        "train.frozen_bn=[backbon]",
        "train.frozen=[nek]",
    ],
)
def test_unknown_parts_are_named_before_a_step_is_made(data: Path, tmp_path: Path, option: str) -> None:
    key = option.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: no .*name begins with '.*'; did you mean '(backbone|neck)"):
        run_training(tiny_config(data, "train.steps=1", option), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    all_late = "train.freeze_until={backbone: 5, neck: 9, head: 7}"
    with pytest.raises(ConfigError, match="nothing would change before step 5"):
        run_training(tiny_config(data, "train.steps=1", all_late), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("sampling", ["class_balanced", pytest.param("repeat_factor", marks=pytest.mark.slow)])
def test_sampling_is_the_same_whatever_the_workers(data: Path, tmp_path: Path, sampling: str) -> None:
    options = [f"data.sampling={sampling}", "data.repeat_threshold=1.0", "train.steps=5"]
    for workers in (0, 2):
        run_training(tiny_config(data, *options, f"data.workers={workers}"), tmp_path / str(workers), quiet=True)
    run_training(tiny_config(data, "train.steps=5"), tmp_path / "uniform", quiet=True)
    one, two, other = (load_file(tmp_path / run / "last.safetensors") for run in ("0", "2", "uniform"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
