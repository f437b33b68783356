"""Hashes of files in a process of their own, which takes what the training leaves: `python file_hashes.py data.json`.

Imports nothing but Python's own, so that it begins at once. It ends when its standard input does, that is with the
process that began it, and keeps what it has found by then.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HASH = "blake2b, 16 bytes, of the file's content"
_BLOCK = 1 << 20
_SHARE = 0.5
"""Of the time, at most, in which files are read: the rest is the loader's."""


def file_hash(path: Path) -> str | None:
    """The hash of a file's content, in hexadecimal; None for one that cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def fill(table: dict[str, Any], stopped: Callable[[], bool] = lambda: False, share: float = 1.0) -> None:
    """Puts the missing hashes into a table as `inventory` makes it, and says whether it is complete.

    Args:
        table: with "splits", each with "root" and "files" {path: [bytes, modified, hash]}; it is changed.
        stopped: asked before every file whether to end.
        share: of the time in which files are read, above 0 and at most 1.
    """
    known: dict[str, str | None] = {}
    for path, row in _rows(table):
        if row[2] is not None:
            continue
        if stopped():
            return
        began = time.perf_counter()
        if path not in known:
            known[path] = file_hash(Path(path))
        row[2] = known[path]
        if share < 1:
            time.sleep((time.perf_counter() - began) * (1 / share - 1))
    table["complete"] = True


def _rows(table: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for split in table["splits"].values():
        for path, row in split["files"].items():
            yield os.path.join(split["root"], path), row  # noqa: PTH118 - text is quick


def write(path: Path, table: dict[str, Any]) -> None:
    """Writes a table, a file a line, into a file that appears whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        part.write_text(as_text(table), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def as_text(table: dict[str, Any]) -> str:
    """The table as JSON, one line for each sample and each file, so that two of them can be compared by eye."""
    head = {key: value for key, value in table.items() if key != "splits"}
    lines = [json.dumps(head, ensure_ascii=False)[:-1] + ', "splits": {']
    splits = list(table["splits"].items())
    for number, (name, split) in enumerate(splits):
        plain = {key: value for key, value in split.items() if key not in ("samples", "files")}
        samples = ",\n".join(json.dumps(row, ensure_ascii=False) for row in split["samples"])
        files = ",\n".join(
            f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(row)}" for key, row in split["files"].items()
        )
        lines.append(f"{json.dumps(name)}: " + json.dumps(plain, ensure_ascii=False)[:-1] + ', "samples": [')
        lines += [samples, '], "files": {', files, "}}" + ("," if number + 1 < len(splits) else "")]
    return "\n".join([*lines, "}}"]) + "\n"


def main(path: Path) -> None:
    """Fills in the table in a file until it is complete or standard input ends."""
    if hasattr(os, "nice"):
        os.nice(10)
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    table = json.loads(path.read_text(encoding="utf-8"))
    fill(table, ended.is_set, _SHARE)
    write(path, table)
    os._exit(0)  # the thread that waits for the end of standard input would hold up an ordinary one


if __name__ == "__main__":
    main(Path(sys.argv[1]))
