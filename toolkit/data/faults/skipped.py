"""Data sets without their bad samples, and what is said of those."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.contracts import Dataset, Skip
from toolkit.errors import DataError, Problem


def without(dataset: Dataset, dropped: Sequence[int], skips: Sequence[Skip]) -> Dataset:
    """The samples of a data set that can be used, in its order. Raises DataError when nothing is left.

    Args:
        dataset: the data set with all its samples.
        dropped: positions in it of the samples that are left out.
        skips: everything that is left out, these and what the data set was made without.
    """
    kept = np.setdiff1d(np.arange(len(dataset)), np.asarray(dropped, np.int64))
    if not len(kept):
        first = f": {skips[0].name}: {skips[0].reason}" if skips else ""
        raise DataError(Problem("data.on_bad", f"none of the {len(dataset)} samples can be used{first}"))
    rest = dataset.subset(kept.tolist())
    rest.skips = tuple(skips)
    return rest


def skipped_text(dataset: Dataset) -> str:
    """How many samples are skipped, and the first of them; "" for none."""
    if not dataset.skips:
        return ""
    names = ", ".join(skip.name for skip in dataset.skips[:5]) + (", ..." if len(dataset.skips) > 5 else "")
    return f"{len(dataset.skips)} skipped as bad, {len(dataset)} used: {names}"
