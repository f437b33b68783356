"""`data.on_bad: skip`: which samples are left out, decided before training, known to every process and to a resumed run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.config.sections import PartSpec
from toolkit.contracts import Dataset, Skip
from toolkit.data.faults.leaving_out import Fault, leaving_out
from toolkit.data.faults.skipped import without
from toolkit.data.formats.pairs import name_in
from toolkit.errors import CheckpointError, DataError, Problem
from toolkit.jobs.part_classes import part_class
from toolkit.preflight.data.read import read_samples, sample_name
from toolkit.preflight.data.record import RecordedFault, SampleRecord

SkipTable = Mapping[str, Any]
"""What is left out of each split, in plain values: {"train": {"used": 360, "skipped": [{"name": ..., "reason": ...}]}}"""


def leniently(make: Callable[[], Dataset]) -> tuple[Dataset, list[Fault]]:
    """A data set without the samples that its making found wrong, and what was wrong.

    Raises DataError where nothing can be made of it, with the reasons that were noted on the way.
    """
    with leaving_out() as faults:
        try:
            return make(), faults
        except DataError as error:
            reasons = [fault.problem for fault in faults]
            raise DataError([*reasons, *(one for one in error.problems if one not in reasons)]) from error


def identity_of(part: PartSpec, classes: Sequence[str]) -> str:
    """Everything about a data set that its samples depend on, but for its files."""
    source, cls = "", part_class(part.kind, part.name)
    if not cls.__module__.startswith("toolkit."):  # ours change with the version
        try:
            path = Path(inspect.getfile(cls))
            source = f"{path} {path.stat().st_mtime_ns}"
        except (OSError, TypeError):
            source = "unknown"
    return f"{cls.__module__}:{cls.__qualname__} {sorted(part.arguments.items())!r} {list(classes)!r} {source}"


def skipping(
    dataset: Dataset, faults: Sequence[Fault], identity: str, split: str, workers: int, *, shown: bool = True
) -> Dataset:
    """The data set without its bad samples, after reading every one (or remembering that it was read).

    Raises DataError when nothing is left.

    Args:
        dataset: the data set as it was made.
        faults: what was noted while the data set was made.
        identity: class and arguments of the data set, for the cache; "" uses none.
        split: name of the split for progress and messages.
        workers: number of processes that read; 0 reads in this one.
        shown: whether progress is shown on stderr.
    """
    records = read_samples(dataset, f"check {split}", identity, None if workers else 0, shown=shown)
    bad = {index: record.faults[0].problem for index, record in enumerate(records) if record.faults}
    if len(bad) == len(dataset):
        reasons = [*(fault.problem for fault in faults), *_first_of_each_kind(records)]
        raise DataError(
            [*reasons, Problem("data.on_bad", f"none of the {len(dataset)} samples of {split} can be used")]
        )
    skips = [Skip(records[index].name, _reason(problem)) for index, problem in bad.items()]
    rest = without(dataset, list(bad), [*_noted(dataset, faults), *skips])
    # What was left out beside images (a mask without one, a name that stands twice) is said too.
    rest.notes = (*rest.notes, *(str(fault.problem) for fault in faults if not fault.names))
    return rest


def _first_of_each_kind(records: Sequence[SampleRecord]) -> list[Problem]:
    """The first fault of each kind, and how many samples have it."""
    by_kind: dict[str, list[RecordedFault]] = {}
    for record in records:
        for fault in record.faults:
            by_kind.setdefault(fault.kind, []).append(fault)
    found = []
    for faults in by_kind.values():
        first, number = faults[0].problem, len(faults)
        message = first.message if number == 1 else f"{first.message} (the first of {number} with this fault)"
        found.append(Problem(first.place if first.where else Path(faults[0].file), message, first.suggestion))
    return found


def as_before(dataset: Dataset, faults: Sequence[Fault], split: str, table: SkipTable) -> Dataset:
    """The data set without the samples that a run's beginning left out, whatever is true of them now.

    Raises DataError when what is left is not as many as then: the order of the data would not be the run's.

    Args:
        dataset: the data set as it was made now.
        faults: what was noted while the data set was made.
        split: name of the split for messages.
        table: what the beginning of the run left out, by split.
    """
    then = table.get(split, {"used": len(dataset), "skipped": []})
    skips = [Skip(str(one["name"]), str(one["reason"])) for one in then["skipped"]]
    names = {skip.name for skip in skips}
    dropped = [index for index in range(len(dataset)) if sample_name(dataset, index) in names]
    result = without(dataset, dropped, skips)
    if len(result) != then["used"]:
        now = "; ".join(f"{skip.name}: {skip.reason}" for skip in _noted(dataset, faults) if skip.name not in names)
        message = f"{then['used']} samples could be used when the run began, now there are {len(result)}"
        message += f" (since then: {now})" if now else ""
        raise DataError(Problem(f"data.{split}", message, "bring the data back to what it was, or start a new run"))
    return result


def skip_table(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """What `as_before` needs to know, of every split."""
    return {
        split: {"used": len(dataset), "skipped": [skip._asdict() for skip in dataset.skips]}
        for split, dataset in datasets.items()
    }


def read_skip_table(path: Path) -> dict[str, Any] | None:
    """The table of a run; None when it has none. Raises CheckpointError for a damaged one."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        for one in table.values():
            int(one["used"]), [(one["name"], one["reason"]) for one in one["skipped"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(Problem(path, f"cannot be read ({error})", "start a new run")) from None
    return dict(table)


def _noted(dataset: Dataset, faults: Sequence[Fault]) -> list[Skip]:
    root = dataset.root
    skips: dict[str, Skip] = {}
    for fault in faults:
        for name in fault.names:
            skips.setdefault(name_in(root, root / name), Skip(name_in(root, root / name), fault.kind.replace("_", " ")))
    return list(skips.values())


def _reason(problem: Problem) -> str:
    return problem.message
