"""A large JSON object read piece by piece: the rows of its lists, without the file or all rows being held."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from toolkit.data.formats.json_file import read_json

_BLOCK = 4 << 20
"""Characters that are read at a time."""
_ROWS = 4096
"""Rows that are handed on at a time."""
_BEHIND = frozenset(",:]} \t\n\r")
_SPACE = re.compile(r"[ \t\n\r]*")


def pieces(
    path: Path, lists: Collection[str], without: tuple[re.Pattern[str], str] | None = None
) -> Iterator[tuple[str, Any]]:
    """The entries of the object that a file holds, in its order: key and value, which `json.loads` would give, too.

    A list whose key is one of `lists` comes in pieces of some thousand rows, each with its key; an empty one as []. What
    is no object comes whole, with the key "".

    Args:
        path: place of the JSON file.
        lists: keys of the lists that come in pieces.
        without: text that is not wanted, and what each is replaced by before it is decoded, but for what lies across
            two blocks of text.

    Raises:
        DataError: for a file that is missing, empty, cut off or no JSON, as `read_json`.
    """
    try:
        with path.open("rb") as file:
            encoding = json.detect_encoding(file.read(4))
        with path.open(encoding=encoding, errors="surrogatepass", newline="") as text:
            reader = _Reader(text, without)
            is_object = reader.next() == "{"
            yield from reader.entries(lists) if is_object else ()
    except (OSError, ValueError, RecursionError):
        read_json(path)  # says what is wrong, and where
        raise
    if not is_object:
        yield "", read_json(path)


class _Reader:
    """A window over a file's text, and where in it reading goes on."""

    def __init__(self, file: TextIO, without: tuple[re.Pattern[str], str] | None) -> None:
        self.file, self.without = file, without
        self.text, self.at = "", 0
        self.decode = json.JSONDecoder().raw_decode

    def entries(self, lists: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Key and value of each entry of the object that begins here, which is all that the file holds."""
        mark = self.take("{")
        if self.next() == "}":
            mark = self.take("}")
        while mark in "{,":
            key = self.value()
            self.take(":")
            if key in lists and self.next() == "[":
                yield from ((key, rows) for rows in self.rows())
            else:
                yield key, self.value()
            mark = self.take(",}")
        if self.next():
            raise ValueError("more than one value")

    def rows(self) -> Iterator[list[Any]]:
        """The elements of the list that begins here."""
        self.take("[")
        rows: list[Any] = []
        if self.next() == "]":
            self.take("]")
            yield rows
            return
        mark = ","
        while mark == ",":
            self.whole(rows)
            rows.append(self.value())
            mark = self.take(",]")
            if len(rows) >= _ROWS or mark == "]":
                yield rows
                rows = []

    def whole(self, rows: list[Any]) -> None:
        """Adds the elements from here on that lie in the window with the commas behind them, up to a piece of rows."""
        text, at, decode, space = self.text, self.at, self.decode, _SPACE.match
        with suppress(ValueError, IndexError):  # cut, the last, or none: for those who look closer
            while len(rows) < _ROWS - 1:
                row, at = decode(text, space(text, at).end())  # type: ignore[union-attr]
                at = space(text, at).end()  # type: ignore[union-attr]
                if text[at] != ",":
                    break
                rows.append(row)
                at += 1
                self.at = at

    def take(self, wanted: str) -> str:
        """The next character, one of `wanted`, behind which reading goes on. Raises ValueError for another."""
        found = self.next()
        if not found or found not in wanted:
            raise ValueError(f"{found!r} in the place of one of {wanted}")
        self.at += 1
        return found

    def next(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> Any:
        """The value that begins here, or behind spaces."""
        self.next()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except ValueError:  # perhaps cut by the window's end
                if not self.more():
                    raise
                continue
            if self.text[end : end + 1] in _BEHIND or not self.more():  # else a number may go on in the next block
                self.at = end
                return value

    def more(self) -> bool:
        """Reads a further block; False at the end of the file."""
        rest = self.text[self.at :]
        block = self.file.read(max(_BLOCK, len(rest)))  # doubled, where a mistake is met and nothing decoded any more
        if self.without is not None:
            pattern, instead = self.without
            block = pattern.sub(instead, block)
        self.text, self.at = rest + block, 0
        return bool(block)
