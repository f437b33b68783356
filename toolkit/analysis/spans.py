"""What each cell of a map sees along one axis of the image: an interval of pixels, and how layers change it.

Height and width never mix in a convolution, a pooling or a resizing, so a map's receptive fields are two lists of
intervals, one a row and one a column. They are held exactly, cell by cell, for the cells of the map and for many
virtual ones beyond its edges: a padded convolution then reads what a larger image would have there, and its fields are
those of the interior. That the field of a cell depends on its position (strided deconvolutions, unpooling, odd sizes)
needs no special case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from typing import NamedTuple

import numpy as np

MARGIN = 8192
"""Virtual pixels beyond each edge of the image: enough for receptive fields of 16,000 pixels."""

_NOTHING = 2**40
"""Interval ends of a cell that sees no pixel: [_NOTHING, -_NOTHING]."""

Ends = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Span:
    """Intervals [lo, hi] of pixels, both ends included, along one axis of the image.

    Args:
        dim: the tensor's dimension along which cells follow one another; None when all elements see the same interval.
        lo: int64 first pixels, of the cells -before, ..., size - 1, ... ; entry i + before is cell i.
        hi: int64 last pixels, of the same cells as `lo`.
        before: how many virtual cells lie before cell 0.
        size: how many cells there really are.
        jump: pixels between neighbouring cells; None for an answer for the whole image.
        image: length of the image along the axis, in pixels.
        inner: where dimensions were merged, element e of `dim` is cell (e // inner) % size.
        exact: false once a rule had to guess (then it is an upper bound).
    """

    dim: int | None
    lo: np.ndarray
    hi: np.ndarray
    before: int
    size: int
    jump: Fraction | None
    image: int
    inner: int = 1
    exact: bool = True

    @staticmethod
    def of_image(dim: int, size: int) -> Span:
        """The span of the image itself, along tensor dimension `dim` of `size` pixels: every pixel sees itself."""
        pixels = np.arange(-MARGIN, size + MARGIN, dtype=np.int64)
        return Span(dim, pixels, pixels, MARGIN, size, Fraction(1), size)

    @property
    def after(self) -> int:
        """Virtual cells behind the last one."""
        return len(self.lo) - self.before - self.size

    def cells(self) -> Ends:
        """Ends of the intervals of the cells that exist."""
        here = slice(self.before, self.before + self.size)
        return self.lo[here], self.hi[here]

    def at(self, dim: int | None) -> Span:
        """The same intervals along another dimension."""
        return replace(self, dim=dim)


class Extent(NamedTuple):
    """How far the cells of a span see, in pixels.

    Args:
        largest: length of the longest interval of a cell.
        smallest: length of the shortest interval of a cell.
        centre: the middle of the first cell's interval; that of pixel 0 is 0.0.
    """

    largest: int
    smallest: int
    centre: float


def extent(span: Span) -> Extent:
    """Lengths and first centre; a cell that sees nothing has length 0. Raises RuntimeError where no cell is left."""
    lo, hi = span.cells()
    if not len(lo):
        raise RuntimeError("no cell is left: the image is too small for so many layers")
    lengths = np.maximum(hi - lo + 1, 0)
    return Extent(int(lengths.max()), int(lengths.min()), float(lo[0] + hi[0]) / 2)


def everything(span: Span, *, exact: bool = True) -> Span:
    """One interval for all elements: what the existing cells see together, within the image."""
    lo, hi = span.cells()
    low, high = max(int(lo.min()), 0), min(int(hi.max()), span.image - 1)
    ends = np.array([low], np.int64), np.array([high], np.int64)
    return Span(None, *ends, 0, 1, None, span.image, exact=span.exact and exact)


def whole(image: int) -> Span:
    """The span of a tensor whose every element sees all `image` pixels of the axis."""
    return Span(None, np.array([0], np.int64), np.array([image - 1], np.int64), 0, 1, None, image)


def one_cell(span: Span, cell: int) -> Span:
    """The interval of one cell, for all elements."""
    index = span.before + cell
    return replace(span, dim=None, lo=span.lo[index : index + 1], hi=span.hi[index : index + 1], before=0, size=1)


def union(spans: Sequence[Span]) -> Span:
    """What cells see that are computed from all of these, cell by cell; the longest path counts.

    Spans along different dimensions cannot be matched cell by cell: then everything sees everything.
    """
    if len(spans) == 1 or all(span is spans[0] for span in spans):
        return spans[0]
    along = [span for span in spans if span.dim is not None]
    if len({(span.dim, span.size, span.inner) for span in along}) > 1:
        along = [everything(span, exact=False) for span in along]
        spans = [*along, *(span for span in spans if span.dim is None)]
        along = []
    first = along[0] if along else spans[0]
    before, after = (min(getattr(span, side) for span in along or spans) for side in ("before", "after"))
    lo = reduce(np.minimum, [_cut(span, span.lo, before, after) for span in spans])
    hi = reduce(np.maximum, [_cut(span, span.hi, before, after) for span in spans])
    exact = all(span.exact for span in spans)
    return Span(first.dim, lo, hi, before, first.size, first.jump, first.image, first.inner, exact)


def _cut(span: Span, ends: np.ndarray, before: int, after: int) -> np.ndarray:
    if span.dim is None:
        return ends
    return ends[span.before - before : len(ends) - (span.after - after)]


def unmerged(span: Span, length: int) -> Span:
    """The span as a plain axis of `length` elements, each cell `inner` times in a row."""
    if span.dim is None or (span.inner == 1 and span.size == length):
        return span
    if span.size * span.inner != length:  # cells in an outer order: they repeat, and have no neighbours to speak of
        return everything(span, exact=False)
    times = span.inner
    lo, hi = np.repeat(span.lo, times), np.repeat(span.hi, times)
    jump = None if span.jump is None else span.jump / times
    return replace(span, lo=lo, hi=hi, before=span.before * times, size=length, jump=jump, inner=1)


# --------------------------------------------------------------------------- layers


class Window(NamedTuple):
    """What a convolution or a pooling does along one axis: cell o reads cells o * stride - padding + k * dilation.

    Args:
        kernel: how many cells one window reads.
        stride: input cells from one window to the next.
        padding: virtual cells before the first one, read as if the image went on.
        dilation: input cells from one read cell to the next.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


def slide(span: Span, window: Window, size: int) -> Span:
    """What the cells of a convolution's or a pooling's output see.

    Args:
        span: span of its input, along the axis.
        window: kernel, stride, padding and dilation along this axis.
        size: number of cells of the output.
    """
    if span.dim is None:
        return span
    kernel, stride, padding, dilation = window
    reach = (kernel - 1) * dilation
    span = _extended(span, padding, (size - 1) * stride - padding + reach - (span.size - 1))
    first = -((span.before - padding) // stride)
    last = (span.size + span.after - 1 + padding - reach) // stride
    places = np.arange(first, last + 1) * stride - padding
    return _reading(span, [places + tap * dilation for tap in range(kernel)], first, size, stride)


def spread(span: Span, window: Window, size: int) -> Span:
    """A transposed convolution: cell o is written by cells i with o = i * stride - padding + k * dilation.

    Args:
        span: span of its input, along the axis.
        window: kernel, stride, padding and dilation along this axis.
        size: number of cells of the output.
    """
    if span.dim is None:
        return span
    kernel, stride, padding, dilation = window
    reach = (kernel - 1) * dilation
    last_read = (size - 1 + padding) // stride
    span = _extended(span, -((padding - reach) // stride), last_read - (span.size - 1))
    first = -((span.before * stride) + padding - reach)
    last = (span.size + span.after - 1) * stride - padding + stride - 1
    places = np.arange(first, last + 1) + padding
    taps = []
    for tap in range(kernel):
        source, rest = np.divmod(places - tap * dilation, stride)
        taps.append(np.where(rest == 0, source, _NOTHING))
    return _reading(span, taps, first, size, Fraction(1, stride))


def resized(span: Span, size: int, mode: str, scale: Fraction | None = None) -> Span:
    """What the cells see after a resizing.

    Args:
        span: span of the input, along the axis.
        size: number of cells of the output.
        mode: "nearest", "nearest_exact", "bilinear", "corners" (bilinear, aligned) or "cubic".
        scale: input cells per output cell where it was given and is not the ratio of the sizes.
    """
    if span.dim is None:
        return span
    ratio = Fraction(span.size, size) if scale is None else scale
    if mode == "corners":
        ratio = Fraction(span.size - 1, size - 1) if size > 1 else Fraction(0)
    if ratio == 0:
        return replace(slide(span, Window(1), 1), jump=None)
    first = -int((span.before - 4) / ratio)
    last = int((span.size + span.after - 5) / ratio)
    cells = np.arange(min(first, 0), max(last, size - 1) + 1)
    top, bottom = ratio.numerator, ratio.denominator
    # Numerators over 2 * bottom: exact, where floats would now and then fall on the wrong side of a cell.
    shift = {"nearest": 0, "corners": 0, "nearest_exact": top}.get(mode, top - bottom)
    place = 2 * cells * top + shift
    low, rest = place // (2 * bottom), place % (2 * bottom)
    taps = [low]
    if mode not in ("nearest", "nearest_exact"):
        taps.append(np.where(rest > 0, low + 1, low))
    if mode == "cubic":
        taps += [np.where(rest > 0, low - 1, low), np.where(rest > 0, low + 2, low)]
    lowest = min(int(tap.min()) for tap in taps)
    highest = max(int(tap.max()) for tap in taps)
    span = _extended(span, -lowest, highest - (span.size - 1))
    return _reading(span, taps, int(cells[0]), size, ratio)


def adaptive(span: Span, size: int) -> Span:
    """Adaptive pooling to `size` cells: cell o reads from floor(o * n / size) to ceil((o + 1) * n / size)."""
    if span.dim is None or size == span.size:
        return span
    if size == 1:
        return everything(span)
    n = span.size
    if n % size == 0:
        return slide(span, Window(n // size, n // size), size)
    cells = np.arange(size)
    start, end = cells * n // size, -(-(cells + 1) * n // size)
    taps = [np.minimum(start + tap, end - 1) for tap in range(int((end - start).max()))]
    return _reading(span, taps, 0, size, Fraction(n, size))


def sliced(span: Span, start: int, step: int, size: int) -> Span:
    """What is left of a span after a slice or a padding.

    Args:
        span: span of the input, along the axis.
        start: number of the first cell that is taken; negative where a padding begins.
        step: cells from one that is taken to the next.
        size: number of cells of the output.
    """
    return slide(span, Window(1, step, -start), size)


def flipped(span: Span) -> Span:
    """The span of the same cells in reverse order, as `torch.flip` puts them."""
    return replace(span, lo=span.lo[::-1], hi=span.hi[::-1], before=span.after)


def _reading(span: Span, taps: Sequence[np.ndarray], first: int, size: int, factor: int | Fraction) -> Span:
    """Cells `first`, ... of a new span that read the cells named by each tap (_NOTHING: none)."""
    lo = np.full(len(taps[0]), _NOTHING, np.int64)
    hi = np.full(len(taps[0]), -_NOTHING, np.int64)
    for tap in taps:
        exists = tap != _NOTHING
        index = np.where(exists, tap + span.before, 0)
        lo = np.minimum(lo, np.where(exists, span.lo[index], _NOTHING))
        hi = np.maximum(hi, np.where(exists, span.hi[index], -_NOTHING))
    jump = None if span.jump is None else span.jump * factor
    return replace(span, lo=lo, hi=hi, before=-first, size=size, jump=jump)


def _extended(span: Span, before: int, after: int) -> Span:
    """At least so many virtual cells on each side; where they are missing the outermost is continued by the jump."""
    missing = max(0, before - span.before), max(0, after - span.after)
    if not any(missing):
        return span
    jump = round(float(span.jump or 0))
    front, back = np.arange(-missing[0], 0) * jump, np.arange(1, missing[1] + 1) * jump
    lo, hi = (np.concatenate([ends[0] + front, ends, ends[-1] + back]) for ends in (span.lo, span.hi))
    return replace(span, lo=lo, hi=hi, before=span.before + missing[0])
