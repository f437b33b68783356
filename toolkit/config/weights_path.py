"""The weights that a path on the command line means, and the config they carry; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from toolkit.config.config_file import ENDINGS, is_run_folder
from toolkit.errors import CheckpointError, Problem, no_such
from toolkit.files import what_is

_BEST_FIRST = ("best.safetensors", "last.safetensors")
_LARGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


def weights_file(path: str | Path) -> Path:
    """The weights of a run folder (best, else last) or the file itself.

    Raises CheckpointError, with exit code 2 and what to name instead, for a path that holds none.
    """
    path = Path(path)
    kind = what_is(path)
    if kind == "folder":
        return _of_folder(path)
    if not kind:
        raise _missing(path)
    if path.suffix == ".state":
        raise _wrong_path(
            str(path), "is the state of a training, to be continued", f"name the run folder, {path.parent}"
        )
    if path.suffix.lower() in ENDINGS:
        remedy = f"train first (toolkit train {path}) and name the run folder"
        if is_run_folder(path.parent):
            remedy = f"name the run folder, {path.parent}"
        raise _wrong_path(str(path), "is a config; wanted a run folder or a weights file", remedy)
    return path


def _missing(path: Path) -> CheckpointError:
    try:
        message = no_such("checkpoint or run folder", path)
    except (OSError, ValueError) as error:
        return _wrong_path(repr(str(path))[:80], f"is no name of a file: {error}"[:200])
    return _wrong_path("", message, _runs_near(path))


def stored_config(file: Path) -> str | None:
    """The config's text in the header of a weights file; None when it cannot be had so. Reads the header only."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= min(_LARGEST_HEADER, file.stat().st_size):
                return None
            text = json.loads(json.loads(stream.read(length))["__metadata__"]["config"])
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def _of_folder(path: Path) -> Path:
    for name in _BEST_FIRST:
        if (path / name).is_file():
            return path / name
    if is_run_folder(path):
        message = "is a run that saved no weights yet (no best.safetensors or last.safetensors)"
        raise _wrong_path(
            str(path), message, f"continue it: toolkit train {path / 'config.yaml'} --run {path} --resume"
        )
    runs = list(islice(_runs_in(path), 6))
    message = "is no run folder: it holds no best.safetensors or last.safetensors"
    raise _wrong_path(str(path), message, f"did you mean {' or '.join(map(str, runs))}?" if runs else "")


def _runs_in(folder: Path) -> Iterator[Path]:
    """Run folders right inside a folder."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    yield from (entry for entry in entries if entry.is_dir() and any((entry / name).is_file() for name in _BEST_FIRST))


def _runs_near(path: Path) -> str:
    runs = [str(run) for run in islice(_runs_in(Path("runs")), 6)] if not path.is_absolute() else []
    same = [run for run in runs if Path(run).name == path.name]
    if same:
        return f"did you mean {same[0]}?"
    return f"runs here: {', '.join(runs)}" if runs else ""


def _wrong_path(where: str, message: str, suggestion: str = "") -> CheckpointError:
    """The command line, not the file, is at fault."""
    error = CheckpointError(Problem(where, message, suggestion))
    error.exit_code = 2
    return error
