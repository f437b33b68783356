"""Where an export begins to differ from its model, and what that looks like: for the message of a failed certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from toolkit.errors import listed
from toolkit.export.graph import BLOCK, MEAN, RAW

_SMALL = 1e-3
"""Share of a block's spread from which on it counts as different, and below which two things count as the same."""
_SECOND = f"{BLOCK}head.roi."
"""Begin of the names of a detector's second stage."""
_FEW = 6
"""Classes up to which every order of them is tried."""


class Fault(NamedTuple):
    """Where two programs part.

    Args:
        block: name of the first value that differs ("input", "backbone.layer1", "logits", "labels").
        why: what the difference looks like, as far as it can be told.
        gap: largest difference of that value.
    """

    block: str
    why: str
    gap: float

    def __str__(self) -> str:
        return f"the first block that differs is {self.block} (by {self.gap:.3g}): {self.why}"


def first_fault(
    wanted: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    stats: Mapping[str, Any],
    tolerance: float = _SMALL,
) -> Fault | None:
    """The first value, in the order of `wanted`, in which an export differs; None where none does.

    Args:
        wanted: values of the model by name, in the order in which they are made: `given` (the picture), blocks, outputs.
        found: those of the export; names that it lacks are passed over.
        stats: `mean`, `std` (of 0..1) and `bgr` of the model.
        tolerance: share of a value's spread that is no difference.
    """
    for name, mine in wanted.items():
        theirs = found.get(name)
        if theirs is None:
            continue
        gap = _gap(mine, theirs)
        most = tolerance * max(float(np.std(mine)), 1e-6) if mine.dtype.kind == "f" else 0.0
        if (
            name == "scores" and RAW in wanted and RAW in found
        ):  # a probability moves by half of what logits do, at most
            most = max(most, _gap(wanted[RAW], found[RAW]))
        if name == "labels" and mine.shape == theirs.shape:
            most = gap if (mine == theirs).mean() >= 0.9999 else most
        if not gap <= most:
            why = _of_boxes(name, wanted, found) if "boxes" in wanted else None
            return Fault(name.removeprefix(BLOCK), why or _why(name, mine, theirs, wanted, stats), gap)
    return None


def other_classes(mine: Sequence[str], theirs: Sequence[str]) -> Fault | None:
    """Class names that are not the checkpoint's, or in another order."""
    if list(mine) == list(theirs):
        return None
    kind = "in another order" if sorted(mine) == sorted(theirs) else "other names"
    shown = f"{listed(theirs, _FEW)}; the checkpoint has {listed(mine, _FEW)}"
    return Fault("classes", f"stale class order: {kind} ({shown})", 0.0)


def _gap(mine: np.ndarray, theirs: np.ndarray) -> float:
    if mine.shape != theirs.shape:
        return float("inf")
    if not mine.size:
        return 0.0
    gap = np.abs(mine.astype(np.float64) - theirs.astype(np.float64)).max()
    return float(gap) if np.isfinite(gap) else float("inf")


def _why(
    name: str, mine: np.ndarray, theirs: np.ndarray, wanted: Mapping[str, np.ndarray], stats: Mapping[str, Any]
) -> str:
    if name == "given":
        return _of_pictures(mine, theirs)
    if name == f"{BLOCK}input":
        if "given" not in wanted:  # --raw: whoever runs the program resizes and normalises
            return "pixels are prepared otherwise: size, order, mean or padding"
        return _of_input(mine, theirs, wanted["given"], stats)
    if not np.isfinite(theirs).all() and np.isfinite(mine).all():
        share = 100 * (~np.isfinite(theirs)).mean()
        return f"{share:.2g} % of its numbers are not finite; half precision overflows beyond 65504"
    if mine.shape != theirs.shape:
        return f"its shape is {theirs.shape}, wanted {mine.shape}: padding or cropping differs"
    if name == RAW:
        order = _reordered(mine, theirs)
        if order is not None:
            return f"stale class order: its channels are the model's channels {order}"
    if name == "labels" and (said := _between_classes(mine, theirs, wanted)):
        return said
    if name in ("labels", "scores", "values"):
        return (
            "the logits agree, so it is the upsampling or what follows it (align_corners, thresholds, order of classes)"
        )
    if _only_edges(mine, theirs):
        return "only its edges differ: padding"
    return "everything before it agrees: it computes something else (align_corners of an upsampling, say) or has other weights"


def _between_classes(mine: np.ndarray, theirs: np.ndarray, wanted: Mapping[str, np.ndarray]) -> str | None:
    """Where labels (N, H, W) differ only between two classes that are equal but for rounding, that; else None."""
    maps = wanted.get(MEAN, wanted.get(RAW))
    if maps is None or maps.ndim != 4 or maps.shape[2:] != mine.shape[1:] or mine.shape != theirs.shape:
        return None
    other = mine != theirs
    if max(int(mine[other].max(initial=0)), int(theirs[other].max(initial=0))) >= maps.shape[1]:
        return None  # no class: below a threshold
    ours, its = (
        np.take_along_axis(maps, one[:, None].astype(np.int64) % maps.shape[1], 1)[:, 0] for one in (mine, theirs)
    )
    margin = float(np.abs(ours - its)[other].max(initial=0.0))
    if margin > _SMALL * float(np.std(maps)):
        return None
    return (
        f"{100 * float(other.mean()):.2g} % of labels, where two classes are equal but for rounding (at most {margin:.2g} apart) "
        "and each side names another one"
    )


def _of_boxes(name: str, wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> str | None:
    """What only detectors do between their layers; None where it is none of that."""
    second = [one for one in wanted if one.startswith(_SECOND)]
    if name in second and name.endswith(".classes"):
        order = _reordered(wanted[name], found[name]) if wanted[name].shape == found[name].shape else None
        return None if order is None else f"stale class order: its channels are the model's channels {order}"
    if second and name == second[0]:
        return (
            "maps and first stage agree, so it is the proposals (clipped to another size, another NMS threshold or number, "
            "shortest side) or how they are cut out of the maps"
        )
    if name.startswith(BLOCK) or name == "given":
        return None
    same = all(wanted[one].shape == found[one].shape for one in ("boxes", "scores"))
    if same and all(_gap(wanted[one], found[one]) <= _SMALL for one in ("boxes", "scores")):
        return "boxes and scores agree, labels do not: stale class order"
    if not np.array_equal(wanted["counts"], found["counts"]):
        return (
            f"all layers agree, but {int(found['counts'].sum())} boxes are left, wanted {int(wanted['counts'].sum())}: "
            "another NMS threshold, lowest score or limit of boxes"
        )
    return "all layers agree, so it is how boxes are decoded, clipped, suppressed (NMS) or scaled to the picture"


def _of_pictures(mine: np.ndarray, theirs: np.ndarray) -> str:
    if mine.shape != theirs.shape:
        return f"the file is read as {theirs.shape}, wanted {mine.shape}"
    if np.array_equal(mine[..., ::-1], theirs):
        return "channels are swapped: BGR in the place of RGB"
    if mine.shape[-1] == 1:
        return "Pillow makes gray of a coloured file in another way than the toolkit; save it gray, as PNG"
    return "Pillow decodes the file to other bytes than the toolkit; save it as PNG"


def _of_input(mine: np.ndarray, theirs: np.ndarray, picture: np.ndarray, stats: Mapping[str, Any]) -> str:
    """Why normalised, padded pixels (N, C, H, W) differ; picture: (N, H, W, C) as it was read."""
    if mine.shape != theirs.shape:
        return f"padding: it is {theirs.shape[2]}x{theirs.shape[3]}, wanted {mine.shape[2]}x{mine.shape[3]}"
    mean, std = (np.asarray(stats[name], np.float64).reshape(1, -1, 1, 1) for name in ("mean", "std"))
    if np.allclose((mine * std + mean)[:, ::-1], theirs * std + mean, atol=1e-3):
        return "channels are swapped: BGR in the place of RGB"
    fits = [_line(mine[:, channel].ravel(), theirs[:, channel].ravel()) for channel in range(mine.shape[1])]
    if all(rest < 1e-3 for *_, rest in fits):
        # theirs = a * mine + b = (x - mean') / std'
        stds = [float(std.ravel()[channel] / slope) for channel, (slope, *_) in enumerate(fits) if slope]
        means = [float(mean.ravel()[c] - fits[c][1] * s) for c, s in enumerate(stds)]
        shown = ", ".join(f"{one:.4g}" for one in means), ", ".join(f"{one:.4g}" for one in stds)
        return f"normalisation: another mean or deviation (about mean {shown[0]} and std {shown[1]})"
    height, width = picture.shape[1:3]
    if np.allclose(mine[:, :, :height, :width], theirs[:, :, :height, :width], atol=1e-4) or _only_edges(mine, theirs):
        return "padding: only the pixels around the picture differ"
    return "pixels are prepared otherwise: resizing, or their order"


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Slope, offset and largest distance of the straight line that leads from one to the other."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    spread = x.var()
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else 0.0
    offset = float(y.mean() - slope * x.mean())
    return slope, offset, float(np.abs(slope * x + offset - y).max())


def _reordered(mine: np.ndarray, theirs: np.ndarray) -> list[int] | None:
    """The order of channels that makes one of the other; None where none does."""
    classes = mine.shape[1]
    order = [
        min(range(classes), key=lambda one: float(np.abs(mine[:, one] - theirs[:, place]).max()))
        for place in range(classes)
    ]
    candidates = (
        [order] if len(set(order)) == classes or classes > _FEW else [list(p) for p in permutations(range(classes))]
    )
    for candidate in candidates:
        if candidate != list(range(classes)) and _gap(mine[:, candidate], theirs) <= _SMALL * float(np.std(mine)):
            return candidate
    return None


def _only_edges(mine: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether the middle of a map (N, C, h, w) agrees."""
    if mine.ndim != 4 or min(mine.shape[2:]) < 8:
        return False
    top, left = (side // 4 for side in mine.shape[2:])
    middle = (slice(None), slice(None), slice(top, -top), slice(left, -left))
    return _gap(mine[middle], theirs[middle]) <= _SMALL * max(float(np.std(mine)), 1e-6)
