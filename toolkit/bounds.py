"""Numbers with bounds, for constructor signatures: the config is checked against them before anything is built.

The bounds are plain `annotated_types` metadata, so a signature needs no knowledge of the config and a direct call
in Python is not slowed down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Interval, MinLen

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Probability = Annotated[float, Interval(ge=0, le=1)]
"""A number from 0 to 1, both included."""
NonEmptyStr = Annotated[str, MinLen(1)]


@dataclass(frozen=True)
class NamesOf:
    """Marks text as one of the names that somebody keeps: an unknown one is told before anything is built.

    word: what is named ("timm net"); `toolkit/config/describe_parts.py` knows where its names come from. said: how the
    type is told in words ("the name of a timm net").
    """

    word: str
    said: str
