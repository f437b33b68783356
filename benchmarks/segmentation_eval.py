"""Evaluating segmentation: label maps and logits to a confusion matrix, and a whole evaluation against its passes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import toolkit
from benchmarks.rows import Goal, Measurements, Row, Way, Work, from_package
from toolkit.engine.evaluate import evaluate
from toolkit.engine.process import make_fabric
from toolkit.engine.settings import TrainSettings
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.ops.map_parts import labels_of_part, lines_of
from toolkit.samples import LabelMap, Sample, Truth, collate

CLASSES = 19
NAMES = [str(label) for label in range(CLASSES)]


def rows() -> list[Row]:
    return [
        Row("confusion", "label maps to confusion matrix, 19 × 1024 × 2048", confusion, grows=True),
        Row("logits", "logits to confusion matrix, 19 × 1024 × 2048", logits_to_matrix),
        Row("coarse_logits", "logits ×8 upsampled, argmax, confusion matrix, 19 × 1024 × 2048", coarse_logits_to_matrix),
        Row("evaluation", "evaluation of 2 images 352 × 480, U-Net resnet18", whole_evaluation, grows=True, budget=15,
            goals=(Goal("forward passes", most=1.1),)),
    ]  # fmt: skip


def size_of(work: Work) -> tuple[int, int]:
    return (64, 128) if work.toy else (1024, 2048)


def torchmetrics_way(predicted: Any, truth: torch.Tensor, *, checked: bool = False) -> Way:
    """Its confusion matrix; its documentation says that `validate_args=False` is faster. Ours checks in any case."""
    from torchmetrics.classification import MulticlassConfusionMatrix

    def way() -> Any:
        metric = MulticlassConfusionMatrix(CLASSES, validate_args=checked)
        metric.update(predicted(), truth)
        return metric.confmat.numpy()

    return way


def counted(labels: torch.Tensor, truth: np.ndarray) -> Any:
    evaluator = SemanticEvaluator(NAMES)
    evaluator.update([LabelMap(labels)], [Truth("", 0, truth.shape, truth)])
    return evaluator.confusion


def same_matrix(returned: dict[str, Any]) -> None:
    """All but one of a hundred thousand pixels: interpolated logits may be equal to rounding."""
    matrices = [np.asarray(matrix) for matrix in returned.values()]
    for other in matrices[1:]:
        assert np.abs(matrices[0][:CLASSES, :CLASSES] - other).sum() <= 1e-5 * other.sum(), "the matrices differ"


def confusion(work: Work) -> Measurements:
    random = np.random.default_rng(0)
    height, width = size_of(work)
    maps = random.integers(0, CLASSES, (2, work.scale * height, width)).astype(np.uint8)
    labels, truth = torch.from_numpy(maps[0]), maps[1]

    def theirs(checked: bool) -> Way:
        return torchmetrics_way(lambda: labels[None], torch.from_numpy(truth)[None], checked=checked)

    ways = {
        "toolkit": lambda: counted(labels, truth),
        "torchmetrics": from_package("torchmetrics", lambda: theirs(False)),
        "torchmetrics, as it comes": from_package("torchmetrics", lambda: theirs(True)),
    }
    return work.in_turn(ways, same_matrix)


def logits_to_matrix(work: Work) -> Measurements:
    return from_logits(work, 1)


def coarse_logits_to_matrix(work: Work) -> Measurements:
    return from_logits(work, 8)


def from_logits(work: Work, factor: int) -> Measurements:
    """Logits on a grid `factor` times coarser than the labels; with factor 1 nothing is interpolated."""
    size = size_of(work)
    coarse = (size[0] // factor, size[1] // factor)
    torch.manual_seed(0)
    logits = torch.randn(CLASSES, *coarse)
    truth = np.random.default_rng(0).integers(0, CLASSES, size).astype(np.uint8)

    def pixels() -> torch.Tensor:
        return logits[None] if factor == 1 else F.interpolate(logits[None], size=size, mode="bilinear")

    def ours() -> Any:
        lines = lines_of(coarse, factor, size, size, "half_pixel")
        return counted(labels_of_part(logits, *lines)[0], truth)

    ways = {
        "toolkit": ours,
        "torchmetrics": from_package("torchmetrics", lambda: torchmetrics_way(pixels, torch.from_numpy(truth)[None])),
        "torch argmax alone": lambda: pixels().argmax(1),
    }
    return work.in_turn(ways, lambda returned: same_matrix({k: v for k, v in returned.items() if "alone" not in k}))


def whole_evaluation(work: Work) -> Measurements:
    """`evaluate` over ready batches of one image, against the model's passes over them."""
    size, images = ((64, 96), 1) if work.toy else ((352, 480), 2 * work.scale)
    model = toolkit.unet("resnet18", num_classes=11).eval()
    random = np.random.default_rng(0)
    batches = []
    for number in range(images):
        picture, labels = random.integers(0, 256, (*size, 3)), random.integers(0, 11, size)
        sample = Sample(picture.astype(np.uint8), f"{number}.png", number, size, labels.astype(np.uint8))
        batches.append(collate([sample], [Truth.of(sample)]))
    fabric = make_fabric(TrainSettings(steps=1, device="cpu"))

    def passes() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(batch.images)

    def ours() -> None:
        evaluate(fabric, model, batches, [SemanticEvaluator(list(model.classes))], images=images)

    return work.in_turn({"toolkit": ours, "forward passes": passes})
