"""A config checked along signatures on file: the same problems as along the classes, without torch, never stale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import albumentations  # noqa: F401 - so that its transforms are recorded
import annotated_types
import numpy as np
import pytest
import yaml
from config_mutations import mutated

from toolkit.config import signature_file
from toolkit.config.annotation_json import NotWritableError, from_json, to_json
from toolkit.config.annotations import describe_type
from toolkit.config.checker import Checker
from toolkit.config.config_file import read
from toolkit.config.overrides import override
from toolkit.config.schema import LiveSignatures
from toolkit.config.sections import BackbonePart
from toolkit.config.signature_file import NotOnFileError, StoredSignatures
from toolkit.config.signature_record import record
from toolkit.config.source import parse
from toolkit.contracts import REGISTRIES
from toolkit.errors import ConfigError, Problem

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))
LIVE = LiveSignatures()


@pytest.fixture(scope="module")
def stored() -> StoredSignatures:
    return StoredSignatures(json.loads(json.dumps(record())))


def problems(make: Callable[[], Any], signatures: Any) -> tuple[Problem, ...]:
    try:
        Checker(make(), signatures).config()
    except ConfigError as error:
        return error.problems
    return ()


def both(text: str, stored: StoredSignatures, overrides: tuple[str, ...] = ()) -> tuple[int, bool]:
    """How many problems both found, and whether the file had an answer."""

    def make() -> Any:
        source = parse(text, "c.yaml")
        override(source, overrides)
        return source

    try:
        make()
    except ConfigError:  # no YAML: both ways end before any signature is looked at
        return 1, True
    live = problems(make, LIVE)
    try:
        assert problems(make, stored) == live
    except NotOnFileError:
        return len(live), False
    return len(live), True


def compare_mutations(path: Path, stored: StoredSignatures, count: int) -> None:
    good = yaml.safe_load(path.read_text())
    found = [both(yaml.dump(mutated(good, seed)), stored) for seed in range(count)]
    assert sum(bool(number) for number, _ in found) > count / 2  # most mutations are mistakes
    assert sum(answered for _, answered in found) > count / 2  # and the file knows, but for names of the user's own


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_same_problems_along_file_and_classes(path: Path, stored: StoredSignatures) -> None:
    assert problems(lambda: read(path), stored) == ()
    compare_mutations(path, stored, 8)


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_same_problems_many_times(path: Path, stored: StoredSignatures) -> None:
    compare_mutations(path, stored, 200)


@pytest.mark.parametrize(
    "change",
    [
        "model.neck=nothing", "model.backbone={name: resnet, dept: 18}", "model.head={name: pixel, spec: 3}", "model.head=3",
        "model.head.loss={name: weighted_sum, losses: [dise]}", "data.train.transforms=[{name: HorizontalFlp}]",
        "data.train.transforms=[{name: HorizontalFlip, prob: 1}]", "data.train.transforms=[Normalize, Lambda]",
        "data.train.transforms=[{name: Affine, scale: [a, 2]}]", "model.head={name: rcnn, rpn: {x: 1, batch: a}, roi: 3}",
        "data.root=elsewhere", "train.optimizer=null", "evaluate.evaluators=[semantic, 3, {name: x}]",
    ],
)  # fmt: skip
def test_each_kind_of_name_is_on_file(change: str, stored: StoredSignatures) -> None:
    found, answered = both((CONFIGS[0].parents[1] / "configs/segnet_camvid.yaml").read_text(), stored, (change,))
    assert answered
    assert found or change.startswith("data.root")


def test_all_parts_are_on_file(stored: StoredSignatures) -> None:
    for registry in REGISTRIES.values():
        for name, cls in registry.items():
            assert list(stored.arguments_of(stored.find(registry.kind, name))) == list(LIVE.arguments_of(cls))


def test_names_of_the_users_own_are_left_to_the_classes(stored: StoredSignatures) -> None:
    with pytest.raises(NotOnFileError):
        stored.find("backbone", "mine:Net")


@pytest.mark.parametrize(
    "annotation",
    [
        int, float | None, list[float], tuple[int, ...], tuple[float, float] | float, dict[str, list[int]], Any,
        Literal["a", 1, True, None], BackbonePart, BackbonePart | None, list[BackbonePart],
        Annotated[int, annotated_types.Gt(0)], Annotated[float, annotated_types.Interval(ge=0, lt=1)],
        Annotated[str, annotated_types.MinLen(1)] | None,
    ],
)  # fmt: skip
def test_types_survive_the_file(annotation: Any) -> None:
    again = from_json(json.loads(json.dumps(to_json(annotation))), {})
    assert again == annotation
    assert describe_type(again) == describe_type(annotation)


@pytest.mark.parametrize("annotation", [np.ndarray, Callable[[int], int], Annotated[int, "words"]])
def test_types_without_a_form_are_left_out(annotation: Any) -> None:
    with pytest.raises(NotWritableError):
        to_json(annotation)


@pytest.mark.parametrize(
    "value",
    ["os", "__import__('os')", ["list"], ["call", "os.system", "id"], [[]], {}, 3, ["section", "os:system"], ["literal", 3],
     ["bounded", "int", {"is": "Predicate", "func": "print"}], ["bounded", "int", {"is": "Gt", "x": 1}], ["literal", [[1]]]],
)  # fmt: skip
def test_what_was_never_written_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, NotWritableError, TypeError)):
        from_json(value, {})


class TestFile:
    """One file in a cache folder of its own."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def test_what_is_saved_is_loaded(self) -> None:
        assert signature_file.load() is None
        signature_file.save(record() or {})
        again = signature_file.load()
        assert again is not None
        assert again.knows_all_transforms

    @pytest.mark.parametrize("what", ["version", "package", "touched", "new", "changed"])
    def test_a_stale_file_is_not_used(self, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        copy = tmp_path / "toolkit"
        copy.mkdir()
        (copy / "a.py").write_text("one")
        monkeypatch.setattr(signature_file.toolkit, "__file__", str(copy / "__init__.py"))
        signature_file.save(record() or {})
        assert signature_file.load() is not None
        if what == "version":
            monkeypatch.setattr(signature_file, "__version__", "99")
        elif what == "package":
            monkeypatch.setattr(signature_file, "version", lambda name: f"{name} 99")
        elif what == "touched":
            os.utime(copy / "a.py", (1, 1))
        elif what == "new":
            (copy / "sub").mkdir()
            (copy / "sub" / "b.py").write_text("")
        else:
            (copy / "a.py").write_text("other")
        assert signature_file.load() is None

    @pytest.mark.parametrize("seed", range(60))
    def test_a_damaged_file_is_as_good_as_none(self, seed: int, stored: StoredSignatures) -> None:
        signature_file.save(record() or {})
        path = signature_file.signature_path()
        assert path is not None
        whole = json.loads(path.read_text())
        if seed % 3 == 0:
            path.write_bytes(path.read_bytes()[: seed * 800])
        elif seed % 3 == 1:
            path.write_text(json.dumps([whole, "x", None, {}, "[" * 9][seed % 5]) + "}" * (seed % 2))
        else:
            path.write_text(json.dumps({**whole, **mutated({"kinds": whole["kinds"], "sections": {}}, seed)}))
        try:
            loaded = signature_file.load()
            if loaded is not None:
                problems(lambda: read(CONFIGS[0]), loaded)
        except NotOnFileError:
            pass

    def test_an_unusable_folder_is_done_without(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        signature_file.save(record() or {})
        assert signature_file.load() is None

    def test_foreign_parts_are_not_written_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = REGISTRIES["optimizers"]
        foreign = type("Foreign", (registry.base,), {"__module__": "mine"})
        monkeypatch.setitem(registry._classes, "foreign", foreign)
        assert record() is None

    def test_a_mistake_is_told_without_torch(self, tmp_path: Path) -> None:
        config = tmp_path / "c.yaml"
        good = CONFIGS[0].parents[1] / "configs/tiny/unet_shapes.yaml"
        config.write_text(good.read_text().replace("optimizer:", "optimiser:"))
        code = (
            "import sys\n"
            "from toolkit.cli.main import run\n"
            f"code = run(['train', {str(config)!r}, 'data.batchsize=3', '--json'])\n"
            "print(code, bool({'torch', 'numpy', 'cv2', 'albumentations'} & set(sys.modules)))"
        )
        lines = []
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            result, last = done.stdout.strip().splitlines()
            lines.append((result, done.stderr, *last.split()))
        (first, first_err, *_), (second, second_err, exit_code, slow_imports) = lines
        assert (first, first_err) == (second, second_err)
        assert "did you mean 'optimizer'" in second_err
        assert "did you mean 'batch_size'" in second_err
        assert (exit_code, slow_imports) == ("2", "False")


def test_checking_needs_no_torch() -> None:
    code = "import sys, toolkit.config.checker, toolkit.config.signature_file, toolkit.cli.front_door\n"
    code += "slow = {'torch', 'numpy', 'cv2', 'albumentations'} & set(sys.modules); assert not slow, slow"
    subprocess.run([sys.executable, "-c", code], check=True)
