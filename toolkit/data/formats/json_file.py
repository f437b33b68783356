"""JSON of annotation tools: read whole, or refused with the place at which it stops being JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolkit.errors import DataError, Place, Problem, missing_path


def read_json(path: Path) -> Any:
    """What a file holds. Raises DataError for one that is missing, empty, cut off or no JSON."""
    return parse_json(path, json_bytes(path))


def json_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises DataError for one that is missing, cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(missing_path("file", path)) from None
    except OSError as error:
        raise DataError(Problem(path, f"cannot be read: {error.strerror}")) from None
    if not data.strip():
        raise DataError(Problem(path, "the annotation file is empty"))
    return data


def parse_json(path: Path, data: bytes) -> Any:
    """What the bytes of a file hold. Raises DataError with line and column in the file where they are no JSON."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        length = len(error.doc)
        whole = f"; the file ends at character {length}, so it may be cut off" if error.pos > length - 100 else ""
        message = f"is no valid JSON: {error.msg} (character {error.pos}){whole}"
        place = Place(str(path), error.lineno, error.colno)
        raise DataError(Problem(place, message, "fetch or export it again")) from None
    except (ValueError, RecursionError) as error:
        raise DataError(Problem(path, f"is no valid JSON: {error}")) from None
