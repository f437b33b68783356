"""Thresholds against scikit-learn and MAPIE, the guarantee by resampling, and goals that cannot be reached."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.errors import ConfigError
from toolkit.results.box_confusion import box_confusion
from toolkit.results.operating_points import Goal, chosen, guaranteed, operating_points, parsed_goal, point_at
from toolkit.results.record import Record
from toolkit.results.score_curves import Misses, ScoreCurve, curve_of

NONE = Misses(np.zeros(0), np.zeros(0), 0)


def curve(scores: np.ndarray, right: np.ndarray, missed: int = 0) -> ScoreCurve:
    return curve_of(scores, right.astype(np.int64), np.ones(len(scores), np.int64), int(right.sum()) + missed, NONE)


@pytest.mark.parametrize("seed", range(10))
def test_thresholds_are_those_that_scikit_learns_curve_gives(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    right = random.random(80) < 0.5
    scores = np.round(np.clip(random.normal(0.4 + 0.2 * right, 0.2), 0, 1), 2)
    precision, recall, thresholds = metrics.precision_recall_curve(right, scores)
    precision, recall = precision[:-1], recall[:-1]  # thresholds rise
    own = curve(scores, right)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert chosen(own, Goal("f1")).threshold == pytest.approx(thresholds[np.flatnonzero(f1 >= f1.max() - 1e-12)[-1]])
    fits = np.flatnonzero(precision >= 0.7)
    best = fits[recall[fits] >= recall[fits].max() - 1e-12][-1]
    assert chosen(own, Goal("precision", 0.7)).threshold == thresholds[best]
    assert chosen(own, Goal("recall", 0.8)).threshold == thresholds[np.flatnonzero(recall >= 0.8)[-1]]
    place = 20
    point = point_at(own, float(thresholds[place]))
    assert [point["precision"], point["recall"]] == pytest.approx([precision[place], recall[place]])


def test_a_goal_that_is_never_reached_is_said_and_not_replaced() -> None:
    own = curve(np.array([0.9, 0.8]), np.array([False, True]), missed=2)
    assert chosen(own, Goal("precision", 0.99)) == (None, "precision 0.99 is never reached, 0.5000 is the most")
    assert chosen(own, Goal("recall", 0.5)).threshold is None
    assert chosen(curve(np.zeros(0), np.zeros(0, bool)), Goal("f1")).why == "it does not occur in the truth"
    assert chosen(curve(np.array([0.5]), np.array([False]), missed=1), Goal("f1")).threshold is None


def multi_label(random: np.random.Generator, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 6) labels, one at least, and (n, 6) probabilities that tell something of them."""
    labels = (random.random((samples, 6)) < 0.4).astype(int)
    labels[np.arange(samples), random.integers(0, 6, samples)] = 1
    return labels, np.clip(random.normal(0.3 + 0.4 * labels, 0.2), 0.001, 0.999)


def misses_of(labels: np.ndarray, probabilities: np.ndarray) -> Misses:
    rows, columns = np.nonzero(labels)
    return Misses(probabilities[rows, columns], 1 / labels.sum(1)[rows], len(labels))


@pytest.mark.parametrize("risk", [0.1, 0.25])
def test_the_guaranteed_threshold_is_that_of_mapie(risk: float) -> None:
    control = pytest.importorskip("mapie.risk_control")
    for seed in range(5):
        labels, probabilities = multi_label(np.random.default_rng(seed), 60)
        grid = np.sort(probabilities[labels == 1]) - 1e-9  # it takes scores above a threshold, not from it on
        controller = control.MultiLabelClassificationController(
            predict_function=lambda rows, table=probabilities: table[rows[:, 0]],
            target_level=1 - risk,
            predict_params=grid,
        )
        controller.calibrate(np.arange(len(labels))[:, None], labels)
        own = guaranteed(misses_of(labels, probabilities), risk)
        assert own.threshold == pytest.approx(float(controller.best_predict_param[0]), abs=1e-6)


@pytest.mark.parametrize("risk", [0.1, 0.3])
def test_the_mean_risk_on_other_images_stays_below_the_guarantee(risk: float) -> None:
    random = np.random.default_rng(3)
    labels, probabilities = multi_label(random, 300)
    found = []
    for _ in range(500):
        order = random.permutation(300)
        fit, other = order[:100], order[100:]
        threshold = guaranteed(misses_of(labels[fit], probabilities[fit]), risk).threshold
        hit = (probabilities[other] >= threshold) & (labels[other] == 1)
        found.append(1 - (hit.sum(1) / labels[other].sum(1)).mean())
    assert risk - 2 / 101 - 0.01 < np.mean(found) <= risk


def test_too_few_independent_units_guarantee_nothing_and_say_so() -> None:
    choice = guaranteed(Misses(np.array([0.9] * 4), np.ones(4), 4), 0.1)
    assert choice.threshold is None
    assert choice.why.endswith("4 independent images or groups cannot guarantee less than 0.2000")


def test_images_of_one_group_are_one_unit() -> None:
    record = boxes_of(20, right=np.ones(20, bool))
    assert operating_points(record, Goal("risk", 0.1))["by_class"]["cat"]["reached"]
    grouped = Record(record.about, record.images, record.image_ids, record.sizes, ("clip",) * 20, arrays=record.arrays)
    entry = operating_points(grouped, Goal("risk", 0.1))["by_class"]["cat"]
    assert entry["threshold"] is None
    assert "1 independent" in entry["why"]


def boxes_of(count: int, right: np.ndarray, split: str = "val") -> Record:
    """Images with a true box each and a detection each, on it or beside it, with rising scores."""
    boxes = np.tile([0.0, 0, 10, 10], (count, 1))
    arrays = {
        "truth_counts": np.ones(count, int),
        "truth_boxes": boxes,
        "truth_labels": np.zeros(count, int),
        "truth_crowd": np.zeros(count, bool),
        "truth_difficult": np.zeros(count, bool),
        "detection_counts": np.ones(count, int),
        "detection_boxes": boxes + np.where(right, 0, 50)[:, None],
        "detection_labels": np.zeros(count, int),
        "detection_scores": (np.arange(count) + 1) / (count + 1),
    }
    names = tuple(f"{number}.png" for number in range(count))
    sizes = np.full((count, 2), 100)
    about = {"task": "detection", "classes": ["cat", "dog"], "split": split}
    return Record(about, names, np.arange(count), sizes, names, arrays=arrays)


def test_points_are_chosen_on_one_record_and_measured_on_another() -> None:
    right = np.arange(10) >= 4
    section = operating_points(boxes_of(10, right), Goal("precision", 1.0 - 1e-9), boxes_of(10, ~right, "test"))
    entry = section["by_class"]["cat"]
    assert (section["chosen_on"], section["reported_on"]) == ("val", "test")
    assert entry["threshold"] == 5 / 11
    assert entry["chosen"] == {"precision": 1.0, "recall": 0.6, "f1": 0.75}
    assert (entry["precision"], entry["recall"]) == (0.0, 0.0)
    assert section["by_class"]["dog"]["why"] == "it does not occur in the truth"
    place = section["curves"]["cat"]["threshold"].index(5 / 11)
    assert section["curves"]["cat"]["recall"][place] == 0.0


@pytest.mark.parametrize("goal", ["f1", "precision=0.15", "recall=0.4"])
def test_detections_cut_at_the_thresholds_have_the_precision_and_recall_that_are_told(goal: str) -> None:
    random = np.random.default_rng(4)
    counts, truth_counts = np.full(12, 15), np.full(12, 6)

    def boxes(count: int) -> np.ndarray:
        corner = random.uniform(0, 12, (count, 2))
        return np.concatenate([corner, corner + random.uniform(6, 11, (count, 2))], axis=1)

    arrays = {
        "truth_counts": truth_counts, "truth_boxes": boxes(72), "truth_labels": random.integers(0, 2, 72),
        "truth_crowd": random.random(72) < 0.1, "truth_difficult": np.zeros(72, bool),
        "detection_counts": counts, "detection_boxes": boxes(180), "detection_labels": random.integers(0, 2, 180),
        "detection_scores": random.random(180).astype(np.float32).astype(np.float64),
    }  # fmt: skip
    record = boxes_of(12, np.ones(12, bool))
    record = Record(record.about, record.images, record.image_ids, record.sizes, record.groups, arrays=arrays)
    section = operating_points(record, parsed_goal(goal))
    lowest = np.array([section["by_class"][name]["threshold"] or 0.0 for name in record.classes])
    kept = arrays["detection_scores"] >= lowest[arrays["detection_labels"]]
    images = np.repeat(np.arange(12), 15)[kept]
    cut = {name: array[kept] for name, array in arrays.items() if name.startswith("detection_") and len(array) == 180}
    matrix = box_confusion({**arrays, **cut, "detection_counts": np.bincount(images, minlength=12)}, 2, 0.0).sum(0)
    for label, name in enumerate(record.classes):
        entry = section["by_class"][name]
        assert entry["precision"] == matrix[label, label] / matrix[:, label].sum()
        assert entry["recall"] == matrix[label, label] / matrix[label].sum()


@pytest.mark.parametrize("text", ["precision", "precision=2", "f1=0.9", "accuracy=0.9", "recall=x", ""])
def test_another_goal_is_refused_with_the_four_that_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match="wanted f1, precision=P"):
        parsed_goal(text)
