"""What a path on the command line means: a config file, or the weights of a run; needs no torch.

A path that is neither is refused with what the user probably meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from toolkit.config.overrides import override
from toolkit.config.source import Source, parse
from toolkit.errors import CheckpointError, ConfigError, Place, Problem, no_such
from toolkit.files import what_is

ENDINGS = (".yaml", ".yml")
_LARGEST = 1 << 20  # bytes; every experiment in this project fits into five thousand
_RUN_FILES = ("last.state", "best.safetensors", "last.safetensors", "metrics.jsonl")
_WEIGHTS = (".safetensors", ".state", ".pth", ".pt", ".ckpt")
_PROGRAMS = (".onnx", ".xml", ".pt2")


def read(path: Path, overrides: Sequence[str] = ()) -> Source:
    """A config file with `key=value` overrides laid over it. Raises ConfigError."""
    source = parse(config_text(path), str(path))
    override(source, overrides)
    return source


def config_text(path: Path) -> str:
    """The text of a config file. Raises ConfigError, with what to do, for everything that is none."""
    if what_is(path) == "folder":
        raise ConfigError(_folder(path))
    if path.suffix.lower() in _WEIGHTS and what_is(path) == "file":
        raise ConfigError(_weights(path))
    if path.suffix.lower() in _PROGRAMS and what_is(path) == "file":
        message = "is a program of another engine; wanted a config file (YAML)"
        remedy = (
            f"toolkit predict {path} PICTURES runs it, and says what goes in and comes out where it must be told more"
        )
        raise ConfigError(Problem(path, message, remedy))
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            message = f"is larger than {_LARGEST >> 20} MiB; wanted a config in YAML, a page of text"
            raise ConfigError(Problem(path, message))
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise ConfigError(_missing(path)) from None
    except UnicodeDecodeError:
        raise ConfigError(Problem(path, "is not a text file; wanted a config in YAML")) from None
    except OSError as error:
        raise ConfigError(Problem(path, f"cannot be read: {error.strerror}")) from None
    except ValueError as error:  # a null byte in the name
        raise ConfigError(Problem(Place(repr(str(path))), f"is no name of a file: {error}")) from None


def is_run_folder(path: Path) -> bool:
    """Whether a folder looks like one that a training made."""
    return any(what_is(path / name) == "file" for name in _RUN_FILES)


def _folder(path: Path) -> Problem:
    if is_run_folder(path):
        config = path / "config.yaml"
        remedy = f"its config is {config}; to continue it: toolkit train {config} --run {path} --resume"
        return Problem(path, "is a run folder; wanted a config file (YAML)", remedy)
    inside = sorted(str(file) for file in path.glob("*.yaml"))
    shown = ", ".join(inside[:6]) + (f" and {len(inside) - 6} more" if len(inside) > 6 else "")
    return Problem(path, "is a folder; wanted a config file (YAML)", f"name one in it: {shown}" if inside else "")


def _weights(path: Path) -> Problem:
    config = path.parent / "config.yaml"
    remedy = "toolkit evaluate and toolkit predict take checkpoints"
    if what_is(config) == "file":
        remedy = f"its config is {config}; {remedy}"
    return Problem(path, "is a checkpoint; wanted a config file (YAML)", remedy)


def _missing(path: Path) -> Problem:
    name, equals, _ = str(path).partition("=")
    if equals and "/" not in name:
        remedy = f"the config file comes first: toolkit train CONFIG {path}"
        return Problem(Place("command line"), f"'{path}' stands where the config file should", remedy)
    message = no_such("config file", path)
    meant = _same_name(path) or [name for name in _alike(path) if str(Path(name).absolute()) not in message]
    return Problem("", message, f"did you mean {' or '.join(meant)}?" if meant else "")


def _same_name(path: Path) -> list[str]:
    """The config that exists under the same name with its ending or its folder, if there is one."""
    folders = (Path(), Path("configs"))
    names = [path.with_name(path.name + ending) for ending in ("", *ENDINGS)] if path.name else []
    return [str(folder / name) for folder in folders for name in names if what_is(folder / name) == "file"][:1]


def _alike(path: Path) -> list[str]:
    """Configs of a similar name below configs/."""
    known: dict[str, Path] = {}
    for file in islice(_configs_below(Path("configs")), 1000):
        known.setdefault(file.stem, file)
    return [str(known[name]) for name in get_close_matches(path.stem, known, n=3, cutoff=0.6)]


def _configs_below(folder: Path) -> Iterator[Path]:
    return (file for ending in ENDINGS for file in sorted(folder.rglob(f"*{ending}")))


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
        raise _no_weights(path)
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


def _no_weights(path: Path) -> CheckpointError:
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
