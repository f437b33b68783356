"""Kinds of box errors and what they cost, against the program of TIDE's authors on random detections.

`tidecv` is installed without the packages it draws with, which bring a second OpenCV; empty modules stand for those.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from toolkit.results.box_errors import BOX_ERRORS, box_errors, error_costs


@pytest.fixture(scope="module")
def tidecv() -> Iterator[Any]:
    drawing = {name: ModuleType(name) for name in ("tidecv.plotting", "matplotlib", "matplotlib.pyplot", "appdirs")}
    vars(drawing["tidecv.plotting"])["Plotter"] = vars(drawing["appdirs"])["user_data_dir"] = lambda *_: None
    with pytest.MonkeyPatch.context() as patch:
        for name, module in drawing.items():
            patch.setitem(sys.modules, name, module)
        yield pytest.importorskip("tidecv")


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    corner = random.integers(0, 12, (count, 2))
    return np.concatenate([corner, corner + random.integers(3, 11, (count, 2))], axis=1).astype(np.float64)


def case(seed: int, images: int = 4, classes: int = 3) -> dict[str, np.ndarray]:
    """Images with none to nine true boxes, some of them crowds, and detections near them, with equal scores and boxes."""
    random = np.random.default_rng(seed)
    truth_counts, counts = random.integers(0, 6, images), random.integers(0, 12, images)
    truth_counts[0] = counts[0] = 3
    total, number = truth_counts.sum(), counts.sum()
    truths, owners = random_boxes(random, total), np.repeat(np.arange(images), truth_counts)
    labels = random.integers(0, classes, total)
    boxes, found_labels = random_boxes(random, number), random.integers(0, classes, number)
    for row, image in enumerate(np.repeat(np.arange(images), counts).tolist()):
        near = np.flatnonzero(owners == image)
        if len(near) and random.random() < 0.8:
            truth = random.choice(near)
            boxes[row] = truths[truth] + random.integers(-2, 3, 4) * (random.random() < 0.7)
            boxes[row, 2:] = np.maximum(boxes[row, 2:], boxes[row, :2] + 1)
            found_labels[row] = labels[truth] if random.random() < 0.7 else found_labels[row]
    return {
        "truth_counts": truth_counts,
        "truth_boxes": truths,
        "truth_labels": labels,
        "truth_crowd": random.random(total) < 0.15,
        "truth_difficult": np.zeros(total, bool),
        "truth_area": np.zeros(total),
        "detection_counts": counts,
        "detection_boxes": boxes,
        "detection_labels": found_labels,
        "detection_scores": np.round(random.random(number), 1 if seed % 2 else 6),
    }


def run_of_tidecv(tidecv: Any, arrays: dict[str, np.ndarray], overlap: float) -> Any:
    truth, found = tidecv.Data("truth", max_dets=8), tidecv.Data("found")
    owners = np.repeat(np.arange(len(arrays["truth_counts"])), arrays["truth_counts"])
    for image in range(len(arrays["truth_counts"])):
        truth.add_image(image, str(image))
    for row, image in enumerate(owners.tolist()):
        x1, y1, x2, y2 = arrays["truth_boxes"][row]
        add = truth.add_ignore_region if arrays["truth_crowd"][row] else truth.add_ground_truth
        add(image, int(arrays["truth_labels"][row]), [x1, y1, x2 - x1, y2 - y1])
    owners = np.repeat(np.arange(len(arrays["detection_counts"])), arrays["detection_counts"])
    for row, image in enumerate(owners.tolist()):
        x1, y1, x2, y2 = arrays["detection_boxes"][row]
        score = float(arrays["detection_scores"][row])
        found.add_detection(image, int(arrays["detection_labels"][row]), score, [x1, y1, x2 - x1, y2 - y1])
    return tidecv.TIDE(pos_threshold=overlap).evaluate(truth, found)


@pytest.mark.parametrize("overlap", [0.5, pytest.param(0.75, marks=pytest.mark.slow)])
def test_numbers_are_those_of_tidecv(tidecv: Any, overlap: float) -> None:
    names = ["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"]
    for seed in range(500):
        arrays = case(seed)
        run = run_of_tidecv(tidecv, arrays, overlap)
        errors = box_errors(arrays, overlap, limit=8)
        costs = error_costs(arrays, errors, ["a", "b", "c"], overlap, limit=8)
        wanted = {kind.short_name: value for kind, value in run.fix_main_errors().items()}
        special = {kind.short_name: value for kind, value in run.fix_special_errors().items()}
        counts = {kind.short_name: value for kind, value in run.count_errors().items()}
        assert costs["AP"] == pytest.approx(run.ap / 100, abs=1e-12), seed
        assert list(costs["lost"].values()) == pytest.approx([wanted[name] / 100 for name in names], abs=1e-12), seed
        assert list(costs["count"].values()) == [counts[name] for name in names], seed
        assert costs["false_positives"] == pytest.approx(special["FalsePos"] / 100, abs=1e-12), seed
        assert costs["false_negatives"] == pytest.approx(special["FalseNeg"] / 100, abs=1e-12), seed


def test_every_kind_occurs_in_those_cases() -> None:
    kinds = [box_errors(case(seed), limit=8) for seed in range(60)]
    counts = np.bincount(np.concatenate([errors.kinds[errors.kinds >= 0] for errors in kinds]), minlength=6)
    assert (counts[:5] > 5).all()
    assert sum(int(errors.missed.sum()) for errors in kinds) > 5
    assert sum(int(errors.spared.sum()) for errors in kinds) > 5
    assert len(BOX_ERRORS) == 6
