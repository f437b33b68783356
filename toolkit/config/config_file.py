"""A config file from its name: read, or refused with what the user probably meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from toolkit.config.overrides import override
from toolkit.config.source import Source, parse
from toolkit.errors import ConfigError, Place, Problem, no_such
from toolkit.files import what_is

ENDINGS = (".yaml", ".yml")
_LARGEST = 1 << 20  # bytes; every experiment in this project fits into five thousand
_RUN_FILES = ("last.state", "best.safetensors", "last.safetensors", "metrics.jsonl")
_WEIGHTS = (".safetensors", ".state", ".pth", ".pt", ".ckpt")


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
