"""The sections of metrics.json that say where a model fails, as plain JSON made of a record.

`errors` of label maps (`lost_iou`): {"kinds": ["boundary", "confusion", "missed", "false"], "tolerance": share of the diagonal,
"pixels": {kind: n}, "mIoU", "lost": {kind: share; they add up to 1 - mIoU}, "mended": {kind: mIoU if that kind alone were
right; the gains do not add up}, "by_class": {class: {"IoU", "lost", "mended", "missing", "extra"}}, "largest": {"kind",
"class", "lost"}, "advice": a sentence}.

`errors` of boxes (`error_costs`): {"kinds": ["classification", "localisation", "both", "duplicate", "background", "missed"],
"overlap", "background", "limit", "AP": AP at that overlap, "lost": {kind: dAP; they do not add up}, "false_positives",
"false_negatives", "count": {kind: n}, "by_class": {class: {kind: n}}, "largest": {"kind", "lost"}, "advice": a sentence}.

`confusion`: {"rows": names of the truth, "columns": names of the answers, "counts": [[n]]}; pixels, or boxes at "overlap" and
"score", whose last row and column are "background": invented and missed objects.

`baseline`: [{"answer": "'sky' everywhere", "metrics": {name: number}}], measured by the same evaluators.

`operating_points`: {"goal", "chosen_on", "reported_on", "fallback", "by_class": {class: {"threshold", "precision", "recall", "f1",
"reached", "why"}}, "curves": {class: {"threshold": [...], "precision": [...], "recall": [...]}}, thresholds falling}.

`calibration`: {"what", "temperature", "ece", "ece_after", "bins": [{"low", "high", "count", "score", "right"}], "bins_after"}.

`worklist`: [{"image", "place": its number in the record, "fold", "box": [x1, y1, x2, y2], "crop": the same with what is around
it, "kind": "class", "box", "missing" or "extra", "label", "answer": names of classes or None, "suspicion": 0..1, "reason": a
sentence}], most suspicious first.

Numbers are fractions; None stands for what is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from toolkit.ops.pixel_errors import ERROR_KINDS
from toolkit.results.baseline import Counting, baseline
from toolkit.results.box_confusion import box_confusion
from toolkit.results.box_errors import BOX_ERRORS, box_errors, error_costs
from toolkit.results.calibration import calibration
from toolkit.results.lost_iou import lost_iou
from toolkit.results.operating_points import Goal, measured, operating_points
from toolkit.results.record import Record
from toolkit.results.worklist import worklist

NO_CLASS, BACKGROUND = "no class", "background"
"""Names of what is no class: of pixels that were given none, and of places without an object."""

_PIXEL_ADVICE = dict(zip(ERROR_KINDS, (
    "borders are off: look at how exactly they were drawn, at the resolution the model sees, or at a loss of borders",
    "it is taken for other classes: look at the confusion matrix, and label more images in which they meet",
    "whole regions are missed: label more of them, sample them more often, or show the model finer maps",
    "it is seen where it is not: label more images without it that look like it",
), strict=True))  # fmt: skip
_BOX_ADVICE = dict(zip(BOX_ERRORS, (
    "objects are found and called otherwise: look at the confusion matrix, and at the labels of those classes",
    "boxes are off their objects: look at how exactly they were drawn, at the anchors, and at the images' size",
    "boxes are off their objects and called otherwise: look at the gallery for what these objects are",
    "objects are found twice: lower the overlap up to which two boxes are two objects (non-maximum suppression)",
    "objects are seen where there are none: raise the score, label more images without any, look for missing boxes",
    "objects are missed: label more like them, lower the score, or show the model larger images",
), strict=True))  # fmt: skip


def diagnosis(
    record: Record, evaluator: Callable[[], Counting] | None = None, points: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All of the sections above that a record has the arrays for; {} for a task that has none.

    Args:
        record: what an evaluation counted, with its groups.
        evaluator: makes an evaluator of the headline, which has counted nothing yet, for `baseline`; None leaves it out.
        points: the section `operating_points` that the weights keep; None chooses thresholds of the largest F1 on the
            record itself.
    """
    sections = _errors(record)
    if evaluator is not None:
        sections["baseline"] = baseline(record, evaluator)
    sections["operating_points"] = measured(points, record) if points else operating_points(record, Goal("f1"))
    sections["calibration"] = calibration(record)
    sections["worklist"] = worklist([record])
    return {name: section for name, section in sections.items() if section}


def _errors(record: Record, score: float = 0.5) -> dict[str, Any]:
    """The sections `errors` and `confusion`; of detections with a score of at least `score`."""
    excluded = tuple(record.about.get("excluded") or ())
    if "error_pixels" in record.arrays:
        errors = lost_iou(record.class_pixels, record.arrays["error_pixels"], record.classes, excluded)
        largest = errors["largest"]
        if largest:
            errors["advice"] = (
                f"{largest['class']} loses {100 * largest['lost']:.1f} points of IoU by {largest['kind']} errors: "
            )
            errors["advice"] += _PIXEL_ADVICE[largest["kind"]]
        rows = list(record.classes)
        counts = record.confusion.sum(0).tolist()
        return {"errors": errors, "confusion": {"rows": rows, "columns": [*rows, NO_CLASS], "counts": counts}}
    if "detection_scores" in record.arrays:
        errors = error_costs(record.arrays, box_errors(record.arrays), record.classes)
        largest = errors["largest"]
        if largest:
            errors["advice"] = f"{largest['kind']} errors cost {100 * largest['lost']:.1f} points of AP50: "
            errors["advice"] += _BOX_ADVICE[largest["kind"]]
        names = [*record.classes, BACKGROUND]
        counts = box_confusion(record.arrays, len(record.classes), score).sum(0).tolist()
        return {
            "errors": errors,
            "confusion": {"rows": names, "columns": names, "counts": counts, "overlap": 0.5, "score": score},
        }
    return {}
