"""Where the IoU that is missing to 1 was lost: kinds of errors that add up, and what mending each alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.ops.pixel_errors import BORDER_SHARE, ERROR_KINDS


def lost_iou(
    class_pixels: np.ndarray, error_pixels: np.ndarray, classes: Sequence[str], excluded: Sequence[str] = ()
) -> dict[str, Any]:
    """The lost IoU of each class shared out over the kinds of errors, as plain JSON.

    A class loses 1 - IoU = (FN + FP) / (TP + FN + FP), and each of its error pixels, lost or wrongly given, an equal part
    of it; so the parts of a class add up to 1 - IoU, and their means over classes to 1 - mIoU.

    `mended` is another question: the IoU that would be measured if the pixels of one kind alone were right. As mending
    shrinks the union too, these gains do not add up. A class that has no pixel left then (invented only) has no IoU,
    and leaves the mean, as in every evaluation.

    Args:
        class_pixels: (N, 3, K) pixels of each image that are right, true and predicted.
        error_pixels: (N, 4, K, 2) wrong pixels of each image (`ops.pixel_errors.count_error_pixels`).
        classes: K names of the labels.
        excluded: names of classes that the means leave out.

    Returns:
        {"kinds", "tolerance" (share of the diagonal), "pixels" {kind: wrong pixels}, "mIoU", "lost" {kind: share}, "mended"
        {kind: mIoU}, "by_class" {class: {"IoU", "lost", "mended", "missing" {kind: own pixels that were lost}, "extra"
        {kind: pixels it got wrongly}}}, "largest" {"kind", "class", "lost"} or None}; numbers are fractions, None where a
        class has no IoU.

    >>> pixels = np.array([[[6, 2], [8, 4], [8, 4]]])  # of 8 and 4 pixels each class has 2 too few and 2 too many
    >>> wrong = np.zeros((1, 4, 2, 2), int)
    >>> wrong[0, 0] = 2  # all of it at the border
    >>> found = lost_iou(pixels, wrong, ["sky", "road"])
    >>> found["by_class"]["road"]["lost"]["boundary"], found["mended"]["boundary"]
    (0.6666666666666666, 1.0)
    """
    right, true, predicted = class_pixels.sum(0).astype(np.float64)
    wrong = error_pixels.sum(0).astype(np.float64)
    union = true + predicted - right
    iou = _quotients(right, union)
    lost = [_quotients(wrong[kind].sum(-1), union) for kind in range(len(ERROR_KINDS))]
    mended = [_quotients(right + wrong[kind, :, 0], union - wrong[kind, :, 1]) for kind in range(len(ERROR_KINDS))]
    counted = [place for place, name in enumerate(classes) if name not in excluded]
    return {
        "kinds": list(ERROR_KINDS),
        "tolerance": BORDER_SHARE,
        "pixels": _by_kind([int(pixels) for pixels in wrong[..., 0].sum(1)]),
        "mIoU": _mean(iou, counted),
        "lost": _by_kind([_mean(shares, counted) for shares in lost]),
        "mended": _by_kind([_mean(values, counted) for values in mended]),
        "by_class": {
            name: {
                "IoU": iou[place],
                "lost": _by_kind([shares[place] for shares in lost]),
                "mended": _by_kind([values[place] for values in mended]),
                "missing": _by_kind([int(pixels) for pixels in wrong[:, place, 0]]),
                "extra": _by_kind([int(pixels) for pixels in wrong[:, place, 1]]),
            }
            for place, name in enumerate(classes)
        },
        "largest": _largest(lost, classes, counted),
    }


def _largest(
    lost: Sequence[Sequence[float | None]], classes: Sequence[str], counted: Sequence[int]
) -> dict[str, Any] | None:
    """The kind and class with the largest loss; None where nothing was lost."""
    losses = [
        (share, ERROR_KINDS[kind], classes[place])
        for kind, shares in enumerate(lost)
        for place in counted
        if (share := shares[place])
    ]
    if not losses:
        return None
    share, kind, name = max(losses, key=lambda loss: loss[0])
    return {"kind": kind, "class": name, "lost": share}


def _by_kind(values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(ERROR_KINDS, values, strict=True))


def _quotients(above: np.ndarray, below: np.ndarray) -> list[float | None]:
    return [float(a / b) if b else None for a, b in zip(above, below, strict=True)]


def _mean(values: Sequence[float | None], counted: Sequence[int]) -> float | None:
    defined = [value for place in counted if (value := values[place]) is not None]
    return sum(defined) / len(defined) if defined else None
