"""Image sizes against the model: strides, legal sizes, receptive field, and what is lost to padding and stretching."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from toolkit.analysis.trace import Trace
from toolkit.contracts import DenseHead, SizeRule
from toolkit.errors import Problem
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import legal_size
from toolkit.preflight.findings import Finding, Report
from toolkit.preflight.model.geometry_trace import GeometryTrace, Size

WASTED = 0.1
"""Share of a batch that is padding from which on it is worth a warning."""
MIXED = 0.3
"""The same for images of several sizes in one batch, which some padding is the price of."""
STRETCHED, STRETCHED_SHARE = 1.5, 0.1
"""A resize changes height / width by more than this factor, for more than this share of the images."""
FIELD_SMALL, FIELD_LARGE = 4.0, 4.0
"""A dense net sees less than 1/4 of the longer side, or more than 4 times the shorter one."""


class ModelSizes(NamedTuple):
    """What a model says of sizes.

    Args:
        rule: heights and widths that the model takes.
        stride: stride of its coarsest map, in pixels.
        pads: whether illegal sizes are padded (else refused).
        dense: whether the head answers for every pixel.
        field: (height, width) in pixels of what a cell of the map the head reads depends on; None when not known.
    """

    rule: SizeRule
    stride: int
    pads: bool
    dense: bool
    field: Size | None = None


def shown(size: Size) -> str:
    """A size in words, height first: `360x480`."""
    return f"{size[0]}x{size[1]}"


def check_sizes(report: Report, batches: Sequence[Sequence[GeometryTrace]], model: ModelSizes, batch_size: int) -> None:
    """Notes what stands out in the first training batches' sizes;

    Args:
        report: takes what stands out, as findings.
        batches: ways of the images of each batch, in order.
        model: what the model says of sizes.
        batch_size: number of images of the config's batch.
    """
    traces = [trace for batch in batches for trace in batch]
    if not traces:
        return
    counts = Counter(trace.after for trace in traces)
    size = counts.most_common(1)[0][0]
    many = f", and {len(counts) - 1} other sizes" if len(counts) > 1 else ""
    report.note("sizes", f"training images of {shown(size)}{many}, height x width, after the transforms")
    report.statistics["image_size"] = list(size)
    _against_stride(report, counts, model)
    _against_field(report, size, model)
    _legal(report, counts, size, model)
    _crops(report, traces)
    _stretched(report, traces)
    if batch_size > 1:
        _mixed(report, batches)


def _against_stride(report: Report, counts: Counter[Size], model: ModelSizes) -> None:
    small = [size for size in counts if min(size) < max(model.stride, model.rule.minimum)]
    if not small:
        return
    least = min(small, key=min)
    if min(least) < model.rule.minimum:
        wanted = f"the model takes at least {model.rule.minimum} pixels a side"
        remedy = f"resize or crop to {model.rule.minimum} or more in data.train.transforms"
    else:
        wanted = f"the coarsest map has stride {model.stride}, so all of such an image is less than a cell of it"
        remedy = f"use images of {4 * model.stride} pixels and more, or a backbone with fewer strides"
    number = sum(counts[size] for size in small)
    message = (
        f"{number} of {counts.total()} training images looked at are as small as {shown(least)} (height x width) after "
        f"the transforms, and {wanted}"
    )
    severe = min(least) < model.rule.minimum and not model.pads
    problem = Problem("data.train.transforms", message, remedy)
    report.add(Finding("small_image", problem, "error" if severe else "warning"), 2)


def _against_field(report: Report, size: Size, model: ModelSizes) -> None:
    if model.field is None or not model.dense:
        return
    reach = max(model.field)
    across = str(reach) if min(model.field) == reach else shown(model.field)
    message = f"an answer depends on {across} pixels each way, the images are {shown(size)}"
    report.note("field", message.replace(", the", "; the"))
    report.statistics["receptive_field"] = reach
    if reach * FIELD_SMALL < max(size):
        remedy = "use smaller images, or a deeper or more dilated model, if what surrounds a pixel matters"
        report.warn("small_field", Problem("model", message, remedy))
    elif any(seen > FIELD_LARGE * side for seen, side in zip(model.field, size, strict=True)):
        remedy = "use larger images, or a shallower model"
        report.warn("large_field", Problem("model", f"{message}: most is padding", remedy))


def _legal(report: Report, counts: Counter[Size], size: Size, model: ModelSizes) -> None:
    """How much every batch is enlarged to a size the parts can take."""
    illegal = [size for size in counts if legal_size(size, model.rule) != size]
    if not illegal:
        return
    size = size if size in illegal else illegal[0]
    legal = legal_size(size, model.rule)
    wasted = 1 - (size[0] * size[1]) / (legal[0] * legal[1])
    near = [n and model.rule.previous_legal(n) for n in size]
    offers = " or ".join(shown((h, w)) for h, w in ((near[0], near[1]), legal) if h and w)
    text = f"{shown(size)} is padded to {shown(legal)} in every step, {wasted:.0%} of the work; legal are {offers}"
    report.statistics["padded_share"] = round(wasted, 4)
    if not model.pads:
        problem = Problem("model.illegal_sizes", f"{shown(size)} is refused: legal are {offers}", "crop or resize")
        report.add(Finding("illegal_size", problem), 2)
    elif wasted >= WASTED:
        report.warn("padded", Problem("data.train.transforms", text, f"crop or resize to {offers}"))
    else:
        report.note("padding", text)


def _crops(report: Report, traces: Sequence[GeometryTrace]) -> None:
    """Crops larger than what they are cut from: the rest of the window is filled."""
    wider: dict[str, list[tuple[GeometryTrace, Size, Size]]] = {}
    total: Counter[str] = Counter()
    for trace in traces:
        for name, before, after in trace.steps:
            total[name] += 1
            if "crop" in name.lower() and (after[0] > before[0] or after[1] > before[1]):
                wider.setdefault(name, []).append((trace, before, after))
    for name, cases in wider.items():
        share = len(cases) / total[name]
        trace, before, after = cases[0]
        filled = float(np.mean([1 - min(b[0], a[0]) * min(b[1], a[1]) / (a[0] * a[1]) for _, b, a in cases]))
        message = (
            f"'{name}' cuts {shown(after)} out of smaller images in {share:.0%} of the cases "
            f"({trace.name}: {shown(before)}); {filled:.0%} of such a window is filling"
        )
        if filled * share >= WASTED:
            report.warn("large_crop", Problem("data.train.transforms", message, "crop less, or resize before"))


def _stretched(report: Report, traces: Sequence[GeometryTrace]) -> None:
    """Whole images scaled to another shape."""
    factors = []
    for trace in traces:
        for name, before, after in trace.steps:
            if name.lower() == "resize":
                ratio = (after[0] / after[1]) / (before[0] / before[1])
                factors.append((max(ratio, 1 / ratio), trace, before, after))
    far = [case for case in factors if case[0] > STRETCHED]
    if not far or len(far) < STRETCHED_SHARE * len(factors):
        return
    factor, trace, before, after = max(far, key=lambda case: case[0])
    message = (
        f"'resize' stretches {len(far) / len(factors):.0%} of the images by more than {STRETCHED:g} "
        f"({trace.name}: {shown(before)} to {shown(after)}, by {factor:.2g})"
    )
    report.warn("stretched", Problem("data.train.transforms", message, "use resize_shorter and random_crop instead"))


def _mixed(report: Report, batches: Sequence[Sequence[GeometryTrace]]) -> None:
    """Images of several sizes are padded to the largest height and width of their batch."""
    held, made = 0, 0
    for batch in batches:
        sizes = [trace.after for trace in batch]
        held += sum(height * width for height, width in sizes)
        made += len(sizes) * max(height for height, _ in sizes) * max(width for _, width in sizes)
    wasted = 1 - held / made
    report.statistics["mixed_padding"] = round(wasted, 4)
    text = f"images of several sizes share a batch: {wasted:.0%} of it is padding"
    if wasted >= MIXED:
        remedy = "crop or resize to one size, or group them by shape (data.group_by_aspect)"
        report.warn("mixed_sizes", Problem("data.train.transforms", text, remedy))
    elif wasted > 0:
        report.note("padding", text)


def compare_with_validation(report: Report, train: Size, val: Sequence[Size], rule: SizeRule, *, pads: bool) -> None:
    """Says that validation images have another size than the training crops; an error where the model refuses one.

    Args:
        report: takes a fact, and errors for sizes that an evaluation would stop at.
        train: (height, width) that most training images have.
        val: sizes of some validation images, the largest among them.
        rule: which sizes the model takes.
        pads: whether it pads others; else it refuses them.
    """
    counts = Counter(val)
    refused = [size for size in counts if not pads and legal_size(size, rule) != size]
    if refused:
        near = legal_size(refused[0], rule)
        message = f"validation images of {shown(refused[0])} are refused: the next legal size is {shown(near)}"
        problem = Problem("data.val.transforms", message, "crop or resize, or set model.illegal_sizes: pad")
        report.add(Finding("illegal_size", problem), 2)
    if set(counts) != {train}:
        usual, largest = counts.most_common(1)[0][0], max(counts, key=lambda size: size[0] * size[1])
        up_to = f", the largest {shown(largest)}" if largest != usual else ""
        text = f"validation images of {shown(usual)}{up_to}: another size than training's, which is fine"
        report.note("sizes", text)


def dense_field(model: VisionModel, size: tuple[int, int]) -> Size | None:
    """(height, width) in pixels of the theoretical receptive field of the head's last layer; None where it cannot be told.

    model: on the meta device. size: (height, width) of the images.
    """
    images = torch.zeros((1, model.in_channels, *legal_size(size, model.spec.sizes)), device="meta")
    training = model.training
    try:
        with Trace(model.eval()).of(images) as trace:
            model(images)
        fields = [row.receptive_field for row in trace.rows() if row.part == "head" and row.receptive_field]
    except Exception:  # somebody's own part; whether it runs at all is another check's question
        return None
    finally:
        model.train(training)
    return fields[-1] if fields else None


def model_sizes(model: VisionModel, size: Size) -> ModelSizes:
    """What a model on the meta device says of image sizes. size: that most of them have."""
    strides = (*model.backbone.spec.strides, *model.spec.strides)
    dense = isinstance(model.head, DenseHead)
    field = dense_field(model, size) if dense else None
    return ModelSizes(model.spec.sizes, max(strides), model.illegal_sizes == "pad", dense, field)
