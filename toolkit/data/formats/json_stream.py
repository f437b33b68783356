"""A large JSON object read piece by piece: the rows of its lists, without the file or all rows being held.

Rows are decoded by msgspec, hundreds at a time and only the values that are wanted. What it does not take (NaN, a piece
that is cut, text that is no JSON) is left to the standard library, which is slower and says what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import msgspec

from toolkit.data.formats.json_file import read_json

_BLOCK = 4 << 20
"""Characters that are read at a time."""
_PIECE = 1 << 20
"""Characters of rows that are decoded and handed on at a time."""
_ROWS = 4096
"""Rows that are handed on at a time where each is decoded by itself."""
_BEHIND = frozenset(",:]} \t\n\r")
_SPACE = re.compile(r"[ \t\n\r]*")
_WHITE, _GAP = " \t\n\r", 80
"""JSON's spaces, and how many characters with a comma among them are looked for between two rows."""


def pieces(path: Path, lists: Mapping[str, type[msgspec.Struct] | None]) -> Iterator[tuple[str, Any]]:
    """The entries of the object that a file holds, in its order: key and value, which `json.loads` would give, too.

    What is no object comes whole, with the key "".

    Args:
        path: place of the JSON file.
        lists: keys of the lists that come in pieces of some thousand rows, each with its key; an empty one as []. With
            each what its objects become: a structure whose fields are the values that are wanted, of any type and None
            where they are absent; or None: they stay as they are.

    Raises:
        DataError: for a file that is missing, empty, cut off or no JSON, as `read_json`.
    """
    try:
        with path.open("rb") as file:
            encoding = json.detect_encoding(file.read(4))
        with path.open(encoding=encoding, errors="surrogatepass", newline="") as text:
            reader = _Reader(text)
            is_object = reader.next() == "{"
            yield from reader.entries(lists) if is_object else ()
    except (OSError, ValueError, RecursionError):
        read_json(path)  # says what is wrong, and where
        raise
    if not is_object:
        yield "", read_json(path)


class _Reader:
    """A window over a file's text, and where in it reading goes on."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text, self.at = "", 0
        self.decode = json.JSONDecoder().raw_decode

    def entries(self, lists: Mapping[str, type[msgspec.Struct] | None]) -> Iterator[tuple[str, Any]]:
        """Key and value of each entry of the object that begins here, which is all that the file holds."""
        mark = self.take("{")
        if self.next() == "}":
            mark = self.take("}")
        while mark in "{,":
            key = self.value()
            self.take(":")
            if key in lists and self.next() == "[":
                yield from ((key, rows) for rows in self.rows(lists[key]))
            else:
                yield key, self.value()
            mark = self.take(",}")
        if self.next():
            raise ValueError("more than one value")

    def rows(self, kind: type[msgspec.Struct] | None) -> Iterator[list[Any]]:
        """The elements of the list that begins here, objects as `kind` where it is not None."""
        decoder = msgspec.json.Decoder(list[Any] if kind is None else list[kind])  # type: ignore[valid-type]
        self.take("[")
        mark = self.take("]") if self.next() == "]" else ","
        if mark == "]":
            yield []
        while mark == ",":
            rows = self.many(decoder)
            if rows:
                yield rows
                continue
            while mark == "," and len(rows) < _ROWS:
                self.whole(rows)
                rows.append(self.value())
                mark = self.take(",]")
            yield rows if kind is None else [_made(kind, row) for row in rows]

    def many(self, decoder: msgspec.json.Decoder[list[Any]]) -> list[Any]:
        """The objects from here on with commas behind them, up to a piece of text; [] where they are not all plain JSON.

        A piece that ends before a comma between two objects and is a list of its own is whole: were it cut within a row,
        its brackets would not close.
        """
        if len(self.text) - self.at < _PIECE:
            self.more()
        brace = self.at + _PIECE
        while (brace := self.text.rfind("{", self.at + 1, brace)) > 0:
            before = self.text[max(self.at, brace - _GAP) : brace].rstrip(_WHITE)
            if before.endswith(",") and before[:-1].rstrip(_WHITE).endswith("}"):
                comma = max(self.at, brace - _GAP) + len(before) - 1
                with suppress(msgspec.MsgspecError, ValueError, RecursionError):
                    rows = decoder.decode(f"[{self.text[self.at : comma]}]")
                    self.at = comma + 1
                    return rows
                return []
        return []

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
        self.text, self.at = rest + block, 0
        return bool(block)


def _made(kind: type[msgspec.Struct], row: Any) -> Any:
    return kind(**{name: row.get(name) for name in kind.__struct_fields__}) if isinstance(row, dict) else row
