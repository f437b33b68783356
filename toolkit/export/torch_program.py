"""A program as PyTorch's own file, .pt2: `torch.export.load(path).module()` runs it without this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from toolkit.export.program import Program
from toolkit.files import replacing

NOTES = "toolkit.json"
"""File inside the .pt2 that holds the metadata."""


def write_program(program: Program, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a program with its metadata, by rename. Raises UserError when the disk refuses.

    Args:
        program: the program that `write_down` made of a model.
        path: where the .pt2 file is written.
        metadata: what is kept in the file, of the kinds that JSON has.
    """
    with replacing(path) as part:
        # torch.export.save looks at the ending.
        whole = part.with_name(part.name + ".pt2")
        try:
            torch.export.save(program.exported, whole, extra_files={NOTES: json.dumps(dict(metadata), default=str)})
            whole.replace(part)
        finally:
            whole.unlink(missing_ok=True)
