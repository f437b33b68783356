"""Errors that speak to the person at the keyboard: where, wanted, found, what to do.

A `UserError` is somebody's mistake (or their disk's), never ours: the command line prints it without a traceback
and exits with its `exit_code`. Everything else that escapes is a defect of the toolkit and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where something is wrong; its text is what a person reads: `configs/own.yaml:12:5  train.steps`.

    Args:
        file: path of a file or folder, as it was given.
        line: number of the line from 1 on; 0 when not known.
        column: number of the column from 1 on; 0 when not known.
        key: key of a config (`train.steps`), or what else has a name: an option, a part, a sample.
        item: an entry of the file that has no line ("annotation 7").
        part: key in the config of the part that read the file, told before it.
    """

    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    item: str = ""
    part: str = ""

    def __str__(self) -> str:
        numbers = [str(number) for number in (self.line, self.column) if number]
        place = ":".join(filter(None, [self.file, *numbers]))
        if self.item:
            place = f"{place}: {self.item}" if place else self.item
        return "  ".join(filter(None, [self.part, place, self.key]))


Where = str | Path | Place
"""A place, or a word that stands for one: a path is a file or folder, text a key or another name."""


def place_of(where: Where) -> Place:
    """The `Place` that a path or a word stands for.

    >>> place_of("train.steps")
    Place(file='', line=0, column=0, key='train.steps', item='', part='')
    """
    if isinstance(where, Place):
        return where
    return Place(file=str(where)) if isinstance(where, Path) else Place(key=where)


@dataclass(frozen=True, init=False)
class Problem:
    """One thing that is wrong.

    Args:
        place: Where it is; text is a key or name, a path a file or folder. "" when the message is place enough.
        message: What was wanted and what was found, in one sentence.
        suggestion: What to do about it; "" when the message already says so.
    """

    place: Place
    message: str
    suggestion: str = ""

    def __init__(self, place: Where, message: str, suggestion: str = "") -> None:
        object.__setattr__(self, "place", place_of(place))
        object.__setattr__(self, "message", message)
        object.__setattr__(self, "suggestion", suggestion)

    @property
    def where(self) -> str:
        """The place as a person reads it."""
        return str(self.place)

    def at(self, place: Where) -> Problem:
        """The same problem at another place."""
        return Problem(place, self.message, self.suggestion)

    def advising(self, suggestion: str) -> Problem:
        """The same problem with another suggestion."""
        return Problem(self.place, self.message, suggestion)

    def as_json(self) -> dict[str, str]:
        """{"where", "message", "suggestion"}: plain text."""
        return {"where": self.where, "message": self.message, "suggestion": self.suggestion}

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; {self.suggestion}" if self.suggestion else text


class UserError(Exception):
    """One or more problems a user can mend, reported together. `exit_code` 1: the work failed."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem("", problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        # Loader workers send exceptions through pickle; the default would call cls(message) and lose the parts.
        return type(self), (self.problems,)


class ConfigError(UserError):
    """The config or the command line is wrong. `exit_code` 2."""

    exit_code = 2


class DataError(UserError):
    """Files of a data set are missing, unreadable or contradict one another."""


class CheckpointError(UserError):
    """A weights or state file is missing, damaged or belongs to another model."""


class PartsError(ConfigError):
    """Two parts do not fit together (strides, channels, pooling indices): found when the second is constructed."""


class ImageSizeError(UserError):
    """An image has a size the model cannot take."""


_LONGEST_WORD = 100
"""Letters of a name in a message; no real one is as long."""


def shortened(word: str) -> str:
    """A word for a message, cut where no name is as long."""
    return word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 3]}..."


def listed(names: Iterable[object], most: int = 5) -> str:
    """The first of many with commas, and how many more there are: what is left out is said.

    >>> listed("abcd", most=2), listed([1, 2])
    ('a, b and 2 more', '1, 2')
    """
    texts = [str(name) for name in names]
    left = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {left} more" if left > 0 else "")


def first_line(error: BaseException) -> str:
    r"""The first line of what an error says; the name of its class where it says nothing.

    >>> first_line(ValueError("\n  too large\nat line 3")), first_line(KeyboardInterrupt())
    ('too large', 'KeyboardInterrupt')
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def did_you_mean(word: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Suggestion for a mistyped word: "did you mean 'x'?", or the known words, or "" if there are none.

    Args:
        word: what was written, "" to list what is known.
        known: the words that would have been right.
        limit: largest number of near words that are named.

    >>> did_you_mean("resnt", ["resnet", "timm"])
    "did you mean 'resnet'?"
    >>> did_you_mean("resnt", ["resnet", "resnet"])  # a name that stands twice is told once
    "did you mean 'resnet'?"
    >>> did_you_mean("zzz", ["resnet", "timm"])
    "known: 'resnet', 'timm'"
    """
    names = sorted(set(known))
    close = get_close_matches(word, names, n=limit, cutoff=0.6)
    if not close:
        folded = {name.lower(): name for name in names}
        close = [folded[match] for match in get_close_matches(word.lower(), folded, n=limit, cutoff=0.6)]
    if close:
        return "did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
    if not names:
        return ""
    shown = ", ".join(f"'{name}'" for name in names[:40])
    return f"known: {shown}" + (f" and {len(names) - 40} more" if len(names) > 40 else "")


def near_paths(path: Path, *, limit: int = 3) -> Sequence[str]:
    """Existing paths that look like a missing one: the deepest existing parent's entries with a similar name."""
    path = path.absolute()
    missing = path
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    try:
        names = [entry.name for entry in missing.parent.iterdir()]
    except OSError:
        return []
    close = get_close_matches(missing.name, names, n=limit + 1, cutoff=0.5)
    found = [missing.parent / name for name in close]
    return [str(one) for one in found if one.exists()][:limit]  # a link that leads nowhere is not near itself


def no_such(kind: str, path: Path) -> str:
    """The absolute path that was looked for, and near matches: `no folder /data/camvd (near: /data/camvid)`."""
    near = near_paths(path)
    return f"no {kind} {_sought(path)}" + (f" (near: {', '.join(near)})" if near else "")


def _sought(path: Path) -> str:
    """The absolute path, and where it leads when it is a link that leads nowhere."""
    if path.is_symlink() and not path.exists():
        return f"{path.absolute()}, which is a link to {path.readlink()}, which is not there"
    return str(path.absolute())


def missing_path(kind: str, path: Path, where: Where = "", suggestion: str = "") -> Problem:
    """As `no_such`, as a problem whose suggestion names the near matches, after `suggestion` if there is one.

    Args:
        kind: word for what is missing ("folder", "weights file").
        path: where it was looked for.
        where: file or key that the message begins with, "" for none.
        suggestion: what else to do, said before the near matches.

    >>> missing_path("folder", Path("/nowhere/at/all")).message
    'no folder /nowhere/at/all'
    """
    near = near_paths(path)
    hints = [suggestion, f"near: {', '.join(near)}" if near else ""]
    return Problem(where, f"no {kind} {_sought(path)}", "; ".join(filter(None, hints)))
