"""HEIC pictures, which phones make: read through Pillow when the extra `heic` is installed, refused with its name when not."""

from __future__ import annotations

import importlib
from pathlib import Path

from toolkit.data.faults.leaving_out import FileError
from toolkit.errors import Problem

_READERS = ("pillow_heif", "pi_heif")
"""Packages that bring libheif; the second has the decoder only."""


def teach_pillow(path: Path) -> None:
    """Lets Pillow open HEIC files from now on, 8 bits a channel, turned upright. Raises DataError without the extra.

    path: the file that wants it, for the message.
    """
    for name in _READERS:
        try:
            importlib.import_module(name).register_heif_opener()
        except ImportError:
            continue
        return
    message = "is HEIC, which this installation does not read"
    raise FileError("needs_extra", Problem(path, message, "pip install 'toolkit-dense[heic]', or convert it to JPEG"))
