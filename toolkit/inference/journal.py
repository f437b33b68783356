"""The journal of a prediction: what is done, what failed and why, with which weights and options; a killed job goes on by it."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import ConfigError, DataError, Problem
from toolkit.files import cannot_write, replacing
from toolkit.inference.shares import Share
from toolkit.inference.writers.base import TableRow

_NONE = -1


class Entry(NamedTuple):
    """What came of one picture.

    Args:
        number: of the picture in the whole listing, from 1 on.
        name: its place below the folder that was named.
        stem: output path of its results, without suffix.
        source: bytes of its file and its time of change in nanoseconds: another file of that name is predicted anew.
        files: bytes of each file that was written, by its place below the folder of results.
        rows: what the files for all pictures hold of it, by format.
        notes: what is told of it at the end: "limited".
        failed: why nothing was made of it; "" when it is done.
    """

    number: int
    name: str
    stem: str
    source: tuple[int, int]
    files: Mapping[str, int]
    rows: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    failed: str = ""

    def line(self) -> str:
        """The entry as a line of the journal."""
        fields = {name: value for name, value in self._asdict().items() if value or name in ("number", "name", "stem")}
        return json.dumps(fields) + "\n"

    @staticmethod
    def read(line: str | bytes) -> Entry:
        """The entry of a line. Raises ValueError, KeyError or TypeError for what is none."""
        found = json.loads(line)
        size, changed = found.get("source", (0, 0))
        return Entry(
            int(found["number"]), str(found["name"]), str(found["stem"]), (size, changed), found.get("files", {}),
            found.get("rows", {}), tuple(found.get("notes", ())), found.get("failed", ""),
        )  # fmt: skip


class Journal:
    """`journal.jsonl` in the folder of results: a header, then an entry a line as pictures are done.

    The header holds the weights' hash, the options and the classes. An entry follows the files of its picture, so what
    the journal calls done is there. It is closed by writing it anew in the order of the listing, with a last line that
    says so; a closed journal of a job that was killed and resumed is the same as of one that was not.

    Args:
        path: place of the journal's file.
        header: weights, options and classes, of JSON's kinds.
        share: the part of the pictures that it is of.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], share: Share) -> None:
        self.path, self.header, self.share = path, dict(header), share
        self._places: array[int] = array("q")
        """Where the entry of each picture of the listing begins in the file."""
        self._others: list[int] = []
        """Where entries of pictures begin that are not in the listing any more."""
        self._file: Any = None
        self._done = False

    def begin(self, pictures: int) -> None:
        """A new, empty journal for so many pictures, in place of what is there."""
        self._places = array("q", [_NONE]) * pictures
        with replacing(self.path) as part:
            part.write_text(json.dumps(self.header) + "\n", encoding="utf-8")
        self._open()

    def resume(self, names: Iterable[tuple[str, str]], pictures: int, is_there: Callable[[Entry], bool]) -> int:
        """Goes on with what is there: the number of pictures that are done.

        Args:
            names: name and stem of each picture of the listing, in its order.
            pictures: how many pictures the listing has.
            is_there: whether what an entry calls done still is.
        """
        numbers = {pair: number for number, pair in enumerate(names)}
        self._places = array("q", [_NONE]) * pictures
        end = done = 0
        for begins, line in _whole_lines(self.path):
            end = begins + len(line)
            if begins == 0 or _is_closing(line):
                continue
            entry = _entry(self.path, line)
            place = numbers.get((entry.name, entry.stem))
            if place is None:
                if not entry.failed:
                    self._others.append(begins)
            elif not entry.failed and is_there(entry._replace(number=place + 1)):
                done += self._places[place] == _NONE
                self._done = True
                self._places[place] = begins
        with self.path.open("rb+") as file:
            file.truncate(end)  # the rest is a line that a kill has cut
        self._open()
        return done

    @property
    def has_entries(self) -> bool:
        """Whether any picture of the listing is done."""
        return self._done

    def is_done(self, place: int) -> bool:
        """Whether a picture of the listing, counted from 0, is done."""
        return self._places[place] != _NONE

    def add(self, place: int, entry: Entry) -> None:
        """Notes a picture of the listing, counted from 0. Raises UserError when the disk refuses."""
        try:
            begins = self._file.tell()
            self._file.write(entry.line().encode())
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._places[place] = begins
        self._done = True

    def entries(self) -> Iterator[Entry]:
        """All entries: those of the listing in its order, then those of pictures that are gone from it."""
        with self.path.open("rb") as file:
            for place, begins in enumerate([*self._places, *self._others]):
                if begins != _NONE:
                    file.seek(begins)
                    yield Entry.read(file.readline())._replace(number=place + 1)

    def close(self) -> None:
        """Writes it anew in the order of the listing, and says that it is whole."""
        self._file.close()
        write_closed(self.path, self.header | {"pictures": len(self._places)}, self.entries())

    def leave(self) -> None:
        """Lets the file go as it is: there is more to do."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        try:
            self._file = self.path.open("ab")
        except OSError as error:
            raise cannot_write(self.path, error) from error


def rows_of(entries: Callable[[], Iterable[Entry]]) -> Callable[[str], Iterator[TableRow]]:
    """What `Outputs.finish` wants: the rows of a format. entries: goes through all of them, in order."""

    def rows(name: str) -> Iterator[TableRow]:
        for entry in entries():
            if name in entry.rows:
                yield TableRow(entry.number, entry.stem, entry.rows[name])

    return rows


def write_closed(path: Path, header: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """A whole journal: its header, the entries, and the line that says it is closed.

    Args:
        path: place of the journal's file, which is replaced.
        header: weights, options and classes, of JSON's kinds.
        entries: those of all pictures, in the order of the listing.
    """
    done = failed = 0
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(header) + "\n")
        for entry in entries:
            file.write(entry.line())
            failed += bool(entry.failed)
            done += not entry.failed
        file.write(json.dumps({"closed": {"done": done, "failed": failed}}) + "\n")


class JournalFile(NamedTuple):
    """What a journal on disk says of itself.

    Args:
        path: place of the journal's file.
        header: its first line: weights, options and classes.
        closed: whether its job came to its end.
        entries: how many lines of pictures it has.
    """

    path: Path
    header: dict[str, Any]
    closed: bool
    entries: int

    def places(self) -> list[tuple[int, int]]:
        """Number of each picture, and where its entry begins; of a picture that was tried twice the last."""
        latest = {}
        for begins, line in _whole_lines(self.path):
            if begins and not _is_closing(line):
                latest[_entry(self.path, line).number] = begins
        return sorted(latest.items())

    def read(self) -> Iterator[Entry]:
        """Its entries, by number."""
        with self.path.open("rb") as file:
            for _, begins in self.places():
                file.seek(begins)
                yield Entry.read(file.readline())


def read_journal(path: Path) -> JournalFile | None:
    """A journal as it lies there; None without one. Raises DataError for a file that is none."""
    if not path.is_file():
        return None
    header: dict[str, Any] | None = None
    closed, count = False, 0
    for begins, line in _whole_lines(path):
        if begins == 0:
            try:
                header = json.loads(line)
            except ValueError:
                header = None
            if not isinstance(header, dict) or "weights" not in header:
                break
        else:
            closed = _is_closing(line)
            count += not closed
    if header is None or "weights" not in header:
        message = "should be the journal of a prediction, and its first line is none"
        raise DataError(Problem(path, message, "choose another folder (--out), or delete the file"))
    return JournalFile(path, header, closed, count)


def refuse_others(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any], remedy: str) -> None:
    """Raises ConfigError, with all differences, when results of two headers must not be mixed.

    Args:
        path: the journal that is there.
        there: the header that it begins with.
        wanted: the header of what is to be done now.
        remedy: what to do about it.
    """
    differences: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*there, *wanted]):
        old, new = there.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += [(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
        elif key != "pictures":
            differences.append((key, old, new))
    told = [f"{name} was {_short(old)} and would be {_short(new)}" for name, old, new in differences if old != new]
    if told:
        raise ConfigError(Problem(path, f"is of other results: {'; '.join(told)}", remedy))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-12:]}"


def _is_closing(line: bytes) -> bool:
    return line.startswith(b'{"closed"')


def _entry(path: Path, line: bytes) -> Entry:
    try:
        return Entry.read(line)
    except (ValueError, KeyError, TypeError) as error:
        message = f"is damaged: {line[:60].decode(errors='replace')!r} is no entry of it ({error})"
        remedy = "delete that line, whose picture is then predicted again with --resume, or start over with --overwrite"
        raise DataError(Problem(path, message, remedy)) from error


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each line of a file begins, and the line; a last one without its end, which a kill has cut, is left out."""
    begins = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield begins, line
            begins += len(line)


def source_of(path: Path | None) -> tuple[int, int]:
    """Bytes and time of change of a picture's file; zeros for one that is not there."""
    try:
        found = os.stat(path or "")  # noqa: PTH116 - of a million files
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
