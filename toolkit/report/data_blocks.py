"""The statistics of the data that a check knows by name, drawn: class frequencies, object sizes, pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.data.classes import Color
from toolkit.report.check_blocks import Block


def data_blocks(
    statistics: Mapping[str, Any], classes: Sequence[str], palette: Sequence[Color]
) -> tuple[list[Block], dict[str, Any]]:
    """Blocks of the known statistics, and the statistics that are left."""
    return [], dict(statistics)
