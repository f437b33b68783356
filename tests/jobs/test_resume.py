"""What may change between a run and its continuation, what needs a flag, and what cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import tiny_config

from toolkit.cli.main import run as command_line
from toolkit.config.plain import differences
from toolkit.engine.checkpoint import load_state, save_state
from toolkit.errors import CheckpointError, ConfigError
from toolkit.jobs.train import run_training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.fixture(scope="module")
def half(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps."""
    run = tmp_path_factory.mktemp("runs") / "half"
    run_training(tiny_config(data, "train.steps=4"), run, quiet=True)
    return run


@pytest.fixture
def run(half: Path, tmp_path: Path) -> Path:
    shutil.copytree(half, tmp_path / "run")
    return tmp_path / "run"


def resume(data: Path, run: Path, *overrides: str, allowed: bool = False) -> dict[str, Any]:
    config = tiny_config(data, "train.steps=6", *overrides)
    return run_training(config, run, resume=True, allow_changes=allowed, quiet=True)


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_every_difference_is_listed_with_old_and_new_value(data: Path, run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    changed = [
        "train.optimizer.lr=0.02", "seed=3", "train.clip_norm=1", "model.backbone.dropout=0.1", "data.batch_size=3",
        "data.train.transforms=[HorizontalFlip]", "train.evaluate_every=3", "evaluate.evaluators=[]",
    ]  # fmt: skip
    with pytest.raises(ConfigError) as error:
        resume(data, run, *changed)
    lines = [problem.message for problem in error.value.problems]
    assert sorted(lines) == sorted([
        "train.optimizer.lr was 0.01 and is now 0.02",
        "seed was 0 and is now 3",
        "train.clip_norm was null and is now 1.0",
        "model.backbone.dropout was 0.3 and is now 0.1",
        "data.batch_size was 2 and is now 3",
        "train.evaluate_every was 4 and is now 3",
        *(line for line in lines if line.startswith(("data.train.transforms was [{name: Horiz", "evaluate.evaluators was"))),
    ])  # fmt: skip
    assert len(lines) == 8
    assert all("--allow-changes" in problem.suggestion for problem in error.value.problems)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_allowed_changes_are_made_and_recorded(data: Path, run: Path) -> None:
    """A learning rate that is allowed to change really does, although the saved optimizer has the old one."""
    resume(data, run, "train.optimizer.lr=0.005", "train.schedule=null", "train.log_every=1", allowed=True)
    assert [event["lr"] for event in events(run) if event["step"] in (5, 6) and "lr" in event] == [0.005, 0.005]
    (changed,) = [event for event in events(run) if "changed" in event]
    assert changed["step"] == 4
    assert changed["changed"]["train.optimizer.lr"] == [0.01, 0.005]
    assert set(changed["changed"]) == {"train.optimizer.lr", "train.schedule"}
    log = (run / "train.log").read_text()
    assert "note       train.optimizer.lr was 0.01 and is now 0.005" in log
    assert "note       train.log_every was 3 and is now 1" in log
    text = (run / "config.yaml").read_text()
    assert "# changed at step 4: train.optimizer.lr was 0.01 and is now 0.005" in text
    config = tiny_config(data, "train.steps=7", "train.optimizer.lr=0.005", "train.schedule=null", "train.log_every=1")
    run_training(config, run, resume=True, quiet=True)  # it is the run's config now
    assert "# changed at step 4: train.optimizer.lr" in (run / "config.yaml").read_text()
    assert len([event for event in events(run) if "changed" in event]) == 1


@pytest.mark.parametrize(
    "change",
    ["data.workers=1", "train.device=auto", "train.threads=2", "train.save_every=1", "train.log_every=2", "name=other"],
)
def test_how_the_work_is_done_may_change_freely(data: Path, run: Path, change: str) -> None:
    assert resume(data, run, change)["step"] == 6
    assert not [event for event in events(run) if "changed" in event]


def test_another_number_format_of_this_machine_is_said(data: Path, run: Path) -> None:
    environment = run / "environment.json"
    saved = json.loads(environment.read_text())
    assert saved["precision"] == "32-true"
    environment.write_text(json.dumps(saved | {"precision": "bf16-mixed"}))
    resume(data, run)
    assert (
        "note       the run began with bf16-mixed numbers, and goes on with 32-true" in (run / "train.log").read_text()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["model.backbone.width=6"],
            r"model\.backbone\.width was 4 and is now 6; its weights are of another architecture",
        ),
        (["model.head.kernel_size=3"], r"model\.head\.kernel_size was 1 and is now 3; its weights are of another"),
        (["train.optimizer={name: sgd, lr: 0.1}"], r"train\.optimizer\.name was adamw and is now sgd; its moments"),
        (["train.steps=3"], r"train\.steps is 3, but the run has made 4 already; ask for 4 or more"),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_what_no_flag_lets_change(data: Path, run: Path, change: list[str], message: str, allowed: bool) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        resume(data, run, *change, allowed=allowed)
    assert len(error.value.problems) == 1


def test_another_class_list_is_refused_with_both_lists(data: Path, run: Path) -> None:
    state = load_state(run / "last.state")
    save_state(run / "last.state", state._replace(classes=("sky", *state.classes[1:])))
    with pytest.raises(
        ConfigError, match=r"the classes were 7 \(sky, circle.*and are now 7 \(background, circle.*by name"
    ):
        resume(data, run, allowed=True)


def test_fewer_steps_than_asked_for_at_first_need_the_flag(data: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.steps was 4 and is now 3|but the run has made 4"):
        run_training(tiny_config(data, "train.steps=3"), run, resume=True, quiet=True)
    state = load_state(run / "last.state")
    save_state(run / "last.state", state._replace(config=state.config.replace("steps: 4", "steps: 40")))
    with pytest.raises(ConfigError, match=r"train\.steps was 40 and is now 6; .*--allow-changes"):
        resume(data, run)
    assert resume(data, run, allowed=True)["step"] == 6


def test_a_part_that_was_frozen_may_be_trained_from_here_on(data: Path, tmp_path: Path) -> None:
    """Moments find their parameter by name; the newly trained start without."""
    run = tmp_path / "run"
    frozen = ["train.frozen=[backbone]", "train.optimizer={name: sgd, lr: 0.05}"]
    run_training(tiny_config(data, "train.steps=4", *frozen), run, quiet=True)
    before = load_file(run / "last.safetensors")
    resume(data, run, frozen[1], allowed=True)
    after = load_file(run / "last.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "backbone.levels.0.0.conv.weight" in moved
    names = [name for group in load_state(run / "last.state").optimizer["param_groups"] for name in group["parameters"]]
    assert len(names) == len(set(names)) == len(load_state(run / "last.state").optimizer["state"])


def test_moments_of_something_else_are_refused(data: Path, run: Path) -> None:
    state = load_state(run / "last.state")
    moments = {number: {**of, "exp_avg": torch.zeros(3, 1, 7)} for number, of in state.optimizer["state"].items()}
    save_state(run / "last.state", state._replace(optimizer={**state.optimizer, "state": moments}))
    with pytest.raises(
        CheckpointError, match=r"last\.state: holds moments of \d+ parameters that are not those of this"
    ):
        resume(data, run)
    without = {number: {"momentum_buffer": of["exp_avg"]} for number, of in state.optimizer["state"].items()}
    save_state(run / "last.state", state._replace(optimizer={**state.optimizer, "state": without}))
    with pytest.raises(CheckpointError, match="holds moments of"):
        resume(data, run)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", -1), ("step", True), ("step", 1 << 60), ("step", 2.0), ("evaluated", 99), ("evaluated", -2),
        ("model", {"a": 1}), ("model", {3: torch.zeros(1)}), ("model", {"a": torch.zeros(2).to_sparse()}),
        ("model", {"a": torch.zeros(2, dtype=torch.complex64)}), ("optimizer", {}),
        ("optimizer", {"state": [], "param_groups": []}),
        ("optimizer", {"state": {}, "param_groups": [{"params": ["x"]}]}), ("best", {"value": float("nan"), "step": 1}),
        ("best", {"value": 1.0}), ("window", {"a": "b"}), ("config", 3), ("classes", [1]), ("stale", -1), ("average", {"a": 0}),
        ("scaler", {"scale": "x"}),
    ],
)  # fmt: skip
def test_every_field_of_a_state_is_looked_at(half: Path, tmp_path: Path, field: str, value: Any) -> None:
    raw = torch.load(half / "last.state", weights_only=True)
    torch.save({**raw, field: value}, tmp_path / "last.state")
    with pytest.raises(CheckpointError, match=rf"fields that hold something else than they should: {field}"):
        load_state(tmp_path / "last.state")


def test_a_state_of_before_a_field_was_added_is_continued(half: Path, tmp_path: Path) -> None:
    raw = torch.load(half / "last.state", weights_only=True)
    torch.save(
        {name: value for name, value in raw.items() if name not in ("stale", "classes", "average")}, tmp_path / "s"
    )
    assert load_state(tmp_path / "s").step == 4
    torch.save({name: value for name, value in raw.items() if name != "window"}, tmp_path / "s")
    with pytest.raises(CheckpointError, match="not a state file of this version"):
        load_state(tmp_path / "s")


def test_a_run_that_ended_before_it_saved_starts_from_the_beginning(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 9}\n')
    (run / "train.log").write_text("run\n")
    resume(data, run)
    assert "the run ended before it saved anything: it starts from the beginning" in (run / "train.log").read_text()
    run_training(tiny_config(data, "train.steps=6"), tmp_path / "whole", quiet=True)
    first, second = load_file(run / "last.safetensors"), load_file(tmp_path / "whole/last.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert events(run)[0]["step"] == 3


def test_a_folder_that_is_no_runs_is_not_touched(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds no last\.state to continue from, and is not the folder of a run"):
        resume(data, tmp_path / "mine")


def test_the_folder_that_is_named_is_the_one_that_is_continued(data: Path, run: Path) -> None:
    shutil.copytree(run, run.with_name("run-2"))
    resume(data, run)
    assert load_state(run / "last.state").step == 6
    assert load_state(run.with_name("run-2") / "last.state").step == 4


def test_the_flag_without_resume_is_a_mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from tiny_run import write_tiny

    assert command_line(["train", str(write_tiny(tmp_path, tmp_path / "data")), "--allow-changes"]) == 2
    assert "--allow-changes goes with --resume" in capsys.readouterr().err


def test_differences_are_complete_and_only_once(data: Path, tmp_path: Path) -> None:
    one = tiny_config(data)
    assert differences(one, tiny_config(data)) == []
    moved = differences(one, tiny_config(tmp_path / "elsewhere"))
    assert [difference.key for difference in moved] == ["data.root"]  # and not once more for each data set
    other = differences(one, tiny_config(data, "model.neck={name: fpn, strides: [1], channels: 8, extra: none}"))
    assert [difference.key for difference in other] == ["model.neck"]
    assert "{name: fpn, strides: [1]" in str(other[0])
    assert [d.key for d in differences(one, tiny_config(data, "data.train.transforms.0.p=0.25"))] == [
        "data.train.transforms.0.p"
    ]
