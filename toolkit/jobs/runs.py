"""A table over runs: what each was measured at, how sure that is, and in what their configs differ. Needs no torch."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.config.paths import is_run_folder
from toolkit.errors import ConfigError, DataError, missing_path
from toolkit.files import what_is
from toolkit.jobs.run_configs import CONFIG_FILE, differing, flat_config
from toolkit.results.image_rows import natural
from toolkit.results.record import NUMBERS_FILE, read_numbers

_DEEPEST = 4
"""Folders below the given one in which runs are looked for."""
_TAIL = 1 << 18
"""Bytes at the end of metrics.jsonl in which the last evaluation is looked for."""


@dataclass(frozen=True)
class RunRow:
    """One record of a run, or a run without any.

    Args:
        run: path of the run, or of the record where it belongs to no run, from the given folder on.
        split: name of the split; None without a record.
        metric: the deciding metric; None when nothing was measured.
        value: its value; None when undefined or not measured.
        low: lower end of its 95 % interval; None when there is none.
        high: upper end of the interval.
        groups: how many independent groups of images it comes from; None when not known.
        why: why there is no interval, else "".
        percent: whether the metric is a fraction that people read in per cent.
        larger_is_better: which of two values is the better one.
        step: of the training at which it was measured, where there is no record.
        differs: keys of the config that are not the same in all runs, with this run's values; None where a key is missing.
        broken: what is wrong with the run, else "".
    """

    run: str
    split: str | None = None
    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    groups: int | None = None
    why: str = ""
    percent: bool = True
    larger_is_better: bool = True
    step: int | None = None
    differs: Mapping[str, Any] = field(default_factory=dict)
    broken: str = ""

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return {**asdict(self), "differs": dict(self.differs)}


@dataclass(frozen=True)
class RunTable:
    """All runs below a folder.

    Args:
        folder: path of the folder whose sub-folders were looked through.
        rows: a row a record, or a run without one: by metric and split, the best first; broken ones last.
        keys: keys of the configs that are not the same in all runs.
        usual: the value that most runs have, of each of those keys.
    """

    folder: str
    rows: tuple[RunRow, ...]
    keys: tuple[str, ...]
    usual: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """{"folder", "runs": rows, "keys", "usual"}."""
        rows = [row.as_json() for row in self.rows]
        return {"folder": self.folder, "runs": rows, "keys": list(self.keys), "usual": dict(self.usual)}


def runs_below(folder: str | Path = "runs") -> RunTable:
    """The table of all runs and records below a folder. Raises ConfigError when there is no such folder.

    Broken runs are rows that say what is wrong with them.
    """
    top = Path(folder)
    if what_is(top) != "folder":
        raise ConfigError(missing_path("folder", top, "", "name the folder of your runs: toolkit runs DIR"))
    rows: list[RunRow] = []
    configs: dict[str, dict[str, Any]] = {}
    for run in _found(top):
        name = run.relative_to(top).as_posix() if run != top else run.name
        mine = _rows_of(run, name)
        if (run / CONFIG_FILE).is_file():
            try:
                configs[name] = flat_config(run)
            except DataError as error:
                mine = [replace(row, broken=str(error)) for row in mine]
        rows += mine
    keys = differing(list(configs.values()))
    usual = {key: _most_frequent([config.get(key) for config in configs.values()]) for key in keys}
    rows = [replace(row, differs={key: configs[row.run].get(key) for key in keys}) if row.run in configs else row
            for row in rows]  # fmt: skip
    return RunTable(str(top), tuple(sorted(rows, key=_rank)), tuple(keys), usual)


def _found(top: Path) -> Iterator[Path]:
    """Run folders, and folders of records that belong to no run, in the order of names."""
    waiting = [(top, 0)]
    while waiting:
        folder, depth = waiting.pop()
        if (folder / NUMBERS_FILE).is_file() or is_run_folder(folder) or (folder / CONFIG_FILE).is_file():
            yield folder
            continue
        if depth < _DEEPEST:
            try:
                inside = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            inside = [path for path in inside if not path.name.startswith(".")]
            waiting += [(path, depth + 1) for path in sorted(inside, key=lambda path: natural(path.name), reverse=True)]


def _rows_of(run: Path, name: str) -> list[RunRow]:
    files = [run / NUMBERS_FILE] if (run / NUMBERS_FILE).is_file() else sorted(run.glob(f"evaluation/*/{NUMBERS_FILE}"))
    if not files:
        return [_from_training(run, name)]
    return [_from_record(file, name) for file in files]


def _from_record(file: Path, name: str) -> RunRow:
    try:
        value = read_numbers(file)
        about, metric = value["about"], str(value["about"]["metric"])
        interval = value.get("intervals", {}).get(metric, {})
        number = value.get("metrics", {}).get(metric)
        return RunRow(
            name, about.get("split"), metric, number, interval.get("low"), interval.get("high"), interval.get("groups"),
            interval.get("why", ""), bool(about.get("percent", True)), bool(about.get("larger_is_better", True)),
        )  # fmt: skip
    except DataError as error:
        return RunRow(name, split=file.parent.name, broken=str(error))
    except (AttributeError, KeyError, TypeError):
        return RunRow(name, split=file.parent.name, broken=f"{file}: is not a whole record; evaluate again")


def _from_training(run: Path, name: str) -> RunRow:
    """The last evaluation that a training wrote down: a number without an interval."""
    found, file = RunRow(name, why="no record: toolkit evaluate makes one"), run / "metrics.jsonl"
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _TAIL))
            lines = stream.read().decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return found
    except OSError as error:
        return replace(found, broken=f"{file}: cannot be read: {error.strerror}")
    for line in reversed(lines):
        event = _event(line)
        metrics = [key for key in event if key.startswith("val/") and key.count("/") == 1 and "loss" not in key]
        if metrics:
            number = event[metrics[0]]
            value = float(number) if isinstance(number, (int, float)) else None
            return replace(found, metric=metrics[0].removeprefix("val/"), value=value, step=event.get("step"))
    return found


def _event(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:  # the first line of the tail is half a line
        return {}
    return value if isinstance(value, dict) else {}


def _most_frequent(values: list[Any]) -> Any:
    texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
    return values[texts.index(Counter(texts).most_common(1)[0][0])]


def _rank(row: RunRow) -> tuple[Any, ...]:
    value = row.value if row.value is not None else float("-inf") if row.larger_is_better else float("inf")
    order = -value if row.larger_is_better else value
    return bool(row.broken), row.metric is None, row.metric or "", row.split or "~", order, natural(row.run)
