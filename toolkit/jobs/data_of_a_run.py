"""`data.json` of a run: written when a training begins, its hashes found while it goes on; and compared with a config's data."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit.contracts import Dataset
from toolkit.data import file_hashes
from toolkit.data.file_hashes import fill, write
from toolkit.data.inventory import Changes, changes, inventory, read_inventory
from toolkit.errors import Problem, UserError, listed
from toolkit.files import cannot_write
from toolkit.preflight.findings import Report

_AT_ONCE = 8 << 20
"""Bytes that are hashed before the training begins, some milliseconds; more are hashed beside it."""
_LONGEST_WAIT, _SHARE_OF_WAIT = 5.0, 0.05
"""Seconds, or share of the training's time, that its end waits for hashes."""


@contextmanager
def data_noted(path: Path, datasets: Mapping[str, Dataset]) -> Iterator[None]:
    """Writes what the data sets read to a file; hashes follow while the context lasts.

    A table that is complete already (of a training that is continued) stays as it is. What is not hashed when the
    training ends stays without a hash, and is compared by size and time.

    Args:
        path: file `data.json` in the run folder.
        datasets: data sets by split, as they are trained on.

    Raises:
        UserError: when the file cannot be written.
    """
    if _is_complete(path):
        yield
        return
    table = inventory(datasets)
    size = sum(row[0] for split in table["splits"].values() for row in split["files"].values())
    at_once = size <= _AT_ONCE
    if at_once:
        fill(table)
    try:
        write(path, table)
    except OSError as error:
        raise cannot_write(path, error) from error
    if at_once:
        yield
        return
    began = time.monotonic()
    command = [sys.executable, "-I", str(Path(file_hashes.__file__)), str(path.absolute())]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    ) as process:
        try:
            yield
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(_LONGEST_WAIT, _SHARE_OF_WAIT * (time.monotonic() - began)))
        finally:
            if process.stdin is not None:
                process.stdin.close()


def _is_complete(path: Path) -> bool:
    try:
        return bool(read_inventory(path.parent)["complete"])
    except (UserError, KeyError):
        return False


def compare_with_run(report: Report, run: Path, datasets: Mapping[str, Dataset], *, thorough: bool) -> None:
    """Says what of the data is otherwise than a run saw it.

    Args:
        report: takes a warning for every kind of change, all names as a statistic, or the fact that nothing changed.
        run: folder of the run, with its `data.json`.
        datasets: the config's data sets, by split.
        thorough: whether every file is hashed, not only those of another time.
    """
    found = changes(read_inventory(run), datasets, thorough=thorough)
    report.statistics["against"] = {"run": str(run), "changed": found.any(), **found._asdict()}
    if found.unsure:
        report.note("against", f"{found.unsure} files that the run had not hashed when it ended: by size and time only")
    if not found.any():
        how = "hash" if thorough else "size and time, or hash"
        report.note("against", f"{run}: the same images, annotations and classes (by {how})")
        return
    for text in _told(found):
        report.warn("changed_data", Problem(f"--against {run}", text))


def _told(found: Changes) -> Iterator[str]:
    named = {
        "images added": found.added,
        "images removed": found.removed,
        "images changed": found.images,
        "images whose annotation changed": found.annotations,
    }
    for what, by_split in named.items():
        for split, names in by_split.items():
            if names:
                yield f"{split}: {len(names)} {what}: {listed(names)}"
    if found.moved:
        moves = [f"{name} ({where})" for name, where in found.moved.items()]
        yield f"{len(moves)} images in another split: {listed(moves)}"
    for sentence in found.classes:
        yield f"class table: {sentence}"
