"""Where the record of a run lies, and the records that a command names."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from toolkit.config.paths import is_run_folder
from toolkit.errors import ConfigError, DataError, Problem, missing_path
from toolkit.files import what_is
from toolkit.results.image_rows import natural
from toolkit.results.record import NUMBERS_FILE, Record


def record_folder_of(path: str | Path, split: str | None = None) -> Path:
    """The folder of a record: itself, or `evaluation/SPLIT` of a run. Raises ConfigError where there is none.

    path: a run folder, a file in one, or the folder of a record. split: of a run; None takes val, or the only one.
    """
    given = Path(path)
    folder = given.parent if what_is(given) == "file" else given
    if what_is(folder) != "folder":
        raise ConfigError(missing_path("run folder or record", given))
    if (folder / NUMBERS_FILE).is_file():
        return folder
    there = [found.parent for found in sorted((folder / "evaluation").glob(f"*/{NUMBERS_FILE}"))]
    names = [found.name for found in there]
    wanted = split or ("val" if "val" in names or len(there) != 1 else names[0])
    if wanted in names:
        return there[names.index(wanted)]
    command = f"toolkit evaluate {given}" + (f" --split {wanted}" if wanted != "val" else "")
    if not is_run_folder(folder) and not there:
        message = "is neither a run folder nor the record of an evaluation"
        raise ConfigError(Problem(given, message, f"a run gets its record by: {command}"))
    has = f"; it has {', '.join(names)}" if names else ""
    raise ConfigError(Problem(given, f"has no record of '{wanted}'{has}", f"make it with: {command}"))


def read_records(paths: Sequence[str | Path], split: str | None = None) -> list[tuple[Path, Record]]:
    """The records of several runs, with their folders. Raises UserError with what is wrong with any of them.

    paths: run folders or folders of records. split: of the runs; None takes val, or the only one that a run has.
    """
    found: list[tuple[Path, Record]] = []
    problems: list[Problem] = []
    usage = True
    for path in paths:
        try:
            folder = record_folder_of(path, split)
            found.append((folder, Record.read(folder)))
        except (ConfigError, DataError) as error:  # noqa: PERF203 - every run is looked at
            problems += error.problems
            usage &= isinstance(error, ConfigError)
    if problems:
        raise (ConfigError if usage else DataError)(problems)
    return found


def filled_in(paths: Sequence[str | Path]) -> list[Path]:
    """Paths with patterns (`runs/a*`) replaced by the folders that they fit, in the order of names; others as they are."""
    found: list[Path] = []
    for path in paths:
        pattern = glob.has_magic(str(path)) and not Path(path).exists()
        fitting = glob.glob(str(path)) if pattern else []  # noqa: PTH207 - Path.glob takes no absolute pattern
        found += [Path(name) for name in sorted(fitting, key=natural)] or [Path(path)]
    return found


def run_of(path: Path) -> Path:
    """The run folder that a path to it, to a file in it or to one of its records means."""
    folder = path.parent if what_is(path) == "file" else path
    return folder.parent.parent if folder.parent.name == "evaluation" else folder


def names_of(paths: Sequence[str | Path]) -> list[str]:
    """Short names of runs: the last folder of each path, with folders before it where two are equal.

    >>> names_of(["runs/a", "runs/b/evaluation/val", "old/a"])
    ['runs/a', 'b', 'old/a']
    """
    parts = [_telling(Path(path)) for path in paths]
    length = [1] * len(parts)
    for _ in range(max(map(len, parts), default=1)):
        short = ["/".join(part[-number:]) for part, number in zip(parts, length, strict=True)]
        length = [number + (short.count(name) > 1) for number, name in zip(length, short, strict=True)]
    return ["/".join(part[-number:]) for part, number in zip(parts, length, strict=True)]


def _telling(path: Path) -> tuple[str, ...]:
    """The parts of a path without `evaluation/SPLIT` and a file's name at its end."""
    path = path.parent if path.suffix in (".safetensors", ".state", ".json") else path
    path = path.resolve() if not path.name else path
    return path.parts[:-2] if len(path.parts) > 2 and path.parts[-2] == "evaluation" else path.parts
