"""From logits to a confusion matrix: ours against torchmetrics, and a whole evaluation against the net's passes alone.

    OMP_NUM_THREADS=1 python benchmarks/segmentation_eval.py --size 1024 2048 --classes 19 --rounds 5

Rounds are interleaved; medians of processor time are printed, and how often faster ours is. Labels are compared, too: they
are torch.argmax's, and those of F.interpolate and torch.argmax but for classes that are equal to rounding.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassJaccardIndex

import toolkit
from toolkit.engine.evaluate import evaluate
from toolkit.engine.process import make_fabric
from toolkit.engine.settings import TrainSettings
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.ops.label_strips import labels_of_strips
from toolkit.samples import Batch, LabelMap, Sample, Truth, collate


def medians(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of processor time of each way, the median of interleaved rounds; one round before them does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if number:
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def row(title: str, found: dict[str, float], ours: str) -> None:
    times = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in found.items())
    ratios = ", ".join(f"{found[name] / found[ours]:.1f}x {name}" for name in found if name != ours)
    print(f"{title:34} {times}: {ratios}")


def logits_to_matrix(size: tuple[int, int], classes: int, factor: int, rounds: int) -> None:
    """Logits on a grid `factor` times coarser than the labels; with factor 1 nothing is interpolated."""
    coarse = (size[0] // factor, size[1] // factor)
    size = (coarse[0] * factor, coarse[1] * factor)
    logits = torch.randn(classes, *coarse)
    truth = np.random.default_rng(0).integers(0, classes, size).astype(np.uint8)
    names = [str(label) for label in range(classes)]
    targets = torch.from_numpy(truth).long()[None]

    def labels(maps: torch.Tensor) -> torch.Tensor:
        return labels_of_strips([maps], coarse, factor, size, size, "half_pixel")[0]

    def ours(maps: torch.Tensor) -> None:
        SemanticEvaluator(names).update([LabelMap(labels(maps))], [Truth("", 0, size, truth)])

    def pixels() -> torch.Tensor:
        return logits[None] if factor == 1 else F.interpolate(logits[None], size=size, mode="bilinear")

    def torchmetrics() -> None:
        MulticlassJaccardIndex(classes, validate_args=False).update(pixels(), targets)

    last = logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    ways = {
        "ours": lambda: ours(logits),
        "torchmetrics": torchmetrics,
        "torch.argmax alone": lambda: pixels().argmax(1),
    }
    found = medians(ways, rounds)
    row(f"logits {classes}x{size[0]}x{size[1]}" + (f" from x{factor}" if factor > 1 else ""), found, "ours")
    row(
        "    the same, classes last",
        medians({"ours": lambda: ours(last), "torchmetrics": torchmetrics}, rounds),
        "ours",
    )
    differ = labels(logits).long() != pixels()[0].argmax(0)
    print(f"    labels that differ from torch's: {int(differ.sum())} of {differ.numel()}")


def whole_evaluation(size: tuple[int, int], images: int, rounds: int) -> None:
    """A U-Net on ResNet-18 and 11 classes: `evaluate` over ready batches against forward passes over them."""
    model = toolkit.unet("resnet18", num_classes=11)
    model.eval()
    random = np.random.default_rng(0)
    samples = [
        Sample(random.integers(0, 256, (*size, 3)).astype(np.uint8), f"{number}.png", number, size,
               random.integers(0, 11, size).astype(np.uint8))
        for number in range(images)
    ]  # fmt: skip
    batches = [collate([sample], [Truth.of(sample)]) for sample in samples]
    fabric = make_fabric(TrainSettings(steps=1, device="cpu"))

    def passes(batches: list[Batch]) -> None:
        with torch.inference_mode():
            for batch in batches:
                model(batch.images)

    def measured(**options: bool) -> None:
        evaluate(fabric, model, batches, [SemanticEvaluator(list(model.classes))], images=images, **options)

    found = medians(
        {
            "forward passes": lambda: passes(batches),
            "evaluation": measured,
            "with losses": lambda: measured(with_loss=True),
            "with a record": lambda: measured(with_rows=True),
        },
        rounds,
    )
    base = found["forward passes"] / images
    shares = ", ".join(f"{name} {seconds / images / base:.3f}x" for name, seconds in found.items())
    title = f"evaluation 11x{size[0]}x{size[1]}"
    print(f"{title:34} {1000 * base:.0f} ms a pass: {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--evaluated", type=int, nargs=2, default=(352, 480), help="size of the evaluated images")
    parser.add_argument("--images", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for factor in (1, 8):
        logits_to_matrix(tuple(arguments.size), arguments.classes, factor, arguments.rounds)
    whole_evaluation(tuple(arguments.evaluated), arguments.images, arguments.rounds)


if __name__ == "__main__":
    main()
