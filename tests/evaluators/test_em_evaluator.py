from __future__ import annotations

import numpy as np
import pytest
import torch

import toolkit
from toolkit.engine.evaluate import evaluate as measured
from toolkit.engine.process import make_fabric
from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError, DataError
from toolkit.evaluators.em_segmentation import EmSegmentationEvaluator, em_numbers
from toolkit.samples import LabelMap, Sample, Truth, collate

NAMES = ["membrane", "cell"]


def grid(cut: bool = False, merged: bool = False) -> np.ndarray:
    """Four cells of 14x14 with walls of two pixels; one in two pieces, or two in one piece."""
    labels = np.zeros((34, 34), np.uint8)
    for top in (2, 18):
        for left in (2, 18):
            labels[top : top + 14, left : left + 14] = 1
    if cut:
        labels[8, 2:16] = 0
    if merged:
        labels[22:26, 16:18] = 1
    return labels


def evaluate(answers: list[np.ndarray], truths: list[np.ndarray], scores=None, **arguments) -> EmSegmentationEvaluator:
    evaluator = EmSegmentationEvaluator(NAMES, **arguments)
    for number, (answer, truth) in enumerate(zip(answers, truths, strict=True)):
        score = None if scores is None else torch.from_numpy(scores[number])
        evaluator.update([LabelMap(torch.from_numpy(answer), score)], [Truth(str(number), number, truth.shape, truth)])
    return evaluator


def test_the_truth_is_perfect_and_borders_may_be_thick() -> None:
    thick = grid()
    thick[5:20, 14:20] = 0  # thinned before it is compared
    perfect = evaluate([grid()], [grid()]).compute()
    assert perfect == {
        "V_rand": 1,
        "V_rand_split": 1,
        "V_rand_merge": 1,
        "V_info": 1,
        "warping_error": 0,
        "pixel_error": 0,
    }
    near = evaluate([thick], [grid()]).compute()
    assert near["V_rand"] > 0.97
    assert near["warping_error"] == 0
    assert near["pixel_error"] > 0.03


def test_splits_and_mergers_are_told_apart() -> None:
    split, merged = (evaluate([answer], [grid()]).compute() for answer in (grid(cut=True), grid(merged=True)))
    assert split["V_rand_merge"] > 0.99 > 0.9 > split["V_rand_split"]
    assert merged["V_rand_split"] == 1 > 0.7 > merged["V_rand_merge"]
    both = 14**2 * 14**2
    assert merged["V_rand_merge"] == pytest.approx(4 * both / (2 * both + (2 * 14**2) ** 2))
    assert merged["warping_error"] == pytest.approx(4 / 34**2)
    assert merged["pixel_error"] == pytest.approx(1 - 2 * 784 / (784 + 792))


def test_the_best_threshold_of_all_images_counts() -> None:
    """At one half two cells are merged by an unsure wall; a higher threshold finds it."""
    probability = np.where(grid() == 1, 0.99, 0.01).astype(np.float32)
    probability[22:26, 16:18] = 0.65
    answer = (probability > 0.5).astype(np.uint8)
    scores = np.maximum(probability, 1 - probability)
    alone = evaluate([answer], [grid()], [scores]).compute()
    best = evaluate([answer], [grid()], [scores], thresholds=10).compute()
    assert alone["V_rand"] < 0.9
    assert best["V_rand"] == best["V_info"] == 1
    assert best["warping_error"] == best["pixel_error"] == 0
    with pytest.raises(DataError, match="predicted without probabilities"):
        evaluate([answer], [grid()], thresholds=10)


def test_ignored_pixels_are_never_wrong() -> None:
    truth = grid()
    truth[22:26, 16:18] = 255
    assert evaluate([grid(merged=True)], [truth]).compute()["pixel_error"] == 0
    assert evaluate([grid(merged=True)], [truth]).compute()["warping_error"] == 0


def test_an_image_without_a_cell_has_no_information() -> None:
    empty = np.zeros((34, 34), np.uint8)
    assert evaluate([grid()], [empty]).compute()["V_info"] is None
    assert evaluate([grid(), grid()], [empty, grid()]).compute()["V_info"] == 1


def test_weights_repeat_images() -> None:
    whole = evaluate([grid(cut=True), grid(merged=True), grid()], [grid()] * 3)
    repeated = evaluate([grid(cut=True), grid(), grid()], [grid()] * 3).compute()
    numbers = em_numbers(whole.state(), np.array([[1, 1, 1], [1, 0, 2]]))
    for name, value in whole.compute().items():
        np.testing.assert_allclose(numbers[name], [value, repeated[name]], rtol=1e-12)


def test_what_the_objects_are_is_asked_of_the_config() -> None:
    assert evaluate([grid()], [grid()], objects="membrane").compute()["V_rand"] == 1
    with pytest.raises(ConfigError, match="names 'cells', but the classes are membrane, cell"):
        EmSegmentationEvaluator(NAMES, objects="cells")
    with pytest.raises(ConfigError, match="there are 3"):
        EmSegmentationEvaluator([*NAMES, "other"], thresholds=10)


def test_the_head_gives_probabilities_while_they_are_wanted() -> None:
    model = toolkit.unet("resnet18", classes=NAMES)
    sample = Sample(np.zeros((32, 32, 3), np.uint8), "a.png", 0, (32, 32), grid()[:32, :32])
    batch = collate([sample], [Truth.of(sample)])
    fabric = make_fabric(TrainSettings(steps=1, device="cpu"))
    found = measured(fabric, model, [batch], [EmSegmentationEvaluator(NAMES, thresholds=3)], images=1)
    assert found.metrics["V_rand"] is not None
    assert not model.head.with_scores
