"""Evaluators of whole images and of value maps, against torchmetrics and hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.errors import DataError
from toolkit.evaluators.classification import ClassificationEvaluator
from toolkit.evaluators.dense_regression import DenseRegressionEvaluator
from toolkit.evaluators.regression import RegressionEvaluator
from toolkit.samples import ImageScores, ImageValues, LabelMap, Truth, ValueMap

metrics = pytest.importorskip("torchmetrics")

NAMES = [f"class {i}" for i in range(8)]


def labelled(label: int | None) -> Truth:
    return Truth("a.png", 0, (4, 4), image_label=label)


def with_values(values: object) -> Truth:
    return Truth("a.png", 0, (4, 4), image_values=np.asarray(values, np.float32))


def with_map(values: object) -> Truth:
    return Truth("a.png", 0, (4, 4), value_map=np.asarray(values, np.float32))


def test_classification_agrees_with_torchmetrics() -> None:
    from torchmetrics.classification import MulticlassAccuracy

    scores, labels = torch.rand(60, 8), torch.randint(0, 7, (60,))  # class 7 does not occur
    evaluator = ClassificationEvaluator(NAMES)
    evaluator.update([ImageScores(row) for row in scores], [labelled(int(label)) for label in labels])
    found = evaluator.compute()

    def theirs(**arguments: object) -> object:
        return MulticlassAccuracy(8, **arguments)(scores, labels).numpy()

    assert found["top1"] == pytest.approx(theirs(average="micro"))
    assert found["top5"] == pytest.approx(theirs(average="micro", top_k=5))
    by_class = [found[f"Acc/{name}"] for name in NAMES]
    assert by_class[:7] == pytest.approx(theirs(average="none")[:7])
    assert by_class[7] is None
    assert found["mAcc"] == pytest.approx(np.mean(by_class[:7]))


def test_of_equal_scores_the_lower_class_comes_first_as_argmax_has_it() -> None:
    equal = ImageScores(torch.full((8,), 0.125))
    for label in range(8):
        evaluator = ClassificationEvaluator(NAMES)
        evaluator.update([equal], [labelled(label)])
        numbers = evaluator.compute()
        assert (numbers["top1"], numbers["top5"]) == (float(label == 0), float(label < 5))


def test_top5_of_five_classes_means_nothing() -> None:
    evaluator = ClassificationEvaluator(NAMES[:5])
    evaluator.update([ImageScores(torch.rand(5))], [labelled(0)])
    assert evaluator.compute()["top5"] is None


def test_classification_refuses_what_it_cannot_compare() -> None:
    evaluator = ClassificationEvaluator(NAMES)
    scores = ImageScores(torch.rand(8))
    for prediction, truth, message in [
        (scores, labelled(None), "a.png: has no class"),
        (scores, labelled(8), "has class 8, wanted 0..7"),
        (ImageScores(torch.rand(7)), labelled(1), "for 8 classes"),
        (LabelMap(torch.zeros(1, 1)), labelled(1), "takes scores of images, but was given label maps"),
    ]:
        with pytest.raises(DataError, match=message):
            evaluator.update([prediction], [truth])


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_regression_agrees_with_torchmetrics_also_far_from_zero(offset: float) -> None:
    torch.manual_seed(1)
    truth = (torch.randn(50, 2) + offset).float()
    predicted = truth + torch.tensor([0.3, 2.0]) * torch.randn(50, 2)
    evaluators = [RegressionEvaluator(["a", "b"]) for _ in range(2)]
    for i in range(50):
        evaluators[i % 2].update([ImageValues(predicted[i])], [with_values(truth[i])])
    evaluators[0].merge(evaluators[1].state())
    found = evaluators[0].compute()
    p, y = predicted.double(), truth.double()
    for i, name in enumerate("ab"):
        wanted = {
            "R2": metrics.functional.r2_score(p[:, i], y[:, i]),
            "MAE": metrics.functional.mean_absolute_error(p[:, i], y[:, i]),
            "RMSE": metrics.functional.mean_squared_error(p[:, i], y[:, i], squared=False),
        }
        for key, value in wanted.items():
            assert found[f"{key}/{name}"] == pytest.approx(float(value), rel=1e-6)
    assert found["R2"] == pytest.approx((found["R2/a"] + found["R2/b"]) / 2)


def test_regression_by_hand_with_an_unknown_value_and_one_that_does_not_vary() -> None:
    evaluator = RegressionEvaluator(["height", "constant", "never known"])
    nan = float("nan")
    rows = [([1, 5, nan], [2, 5, 0]), ([3, 5, nan], [3, 6, 0]), ([nan, 5, nan], [9, 5, 0]), ([5, 5, nan], [4, 5, 0])]
    evaluator.update([ImageValues(torch.tensor(p).float()) for _, p in rows], [with_values(y) for y, _ in rows])
    found = evaluator.compute()
    assert found["MAE/height"] == pytest.approx(2 / 3)
    assert found["RMSE/height"] == pytest.approx((2 / 3) ** 0.5)
    assert found["R2/height"] == pytest.approx(1 - 2 / 8)
    assert found["MAE/constant"] == pytest.approx(0.25)
    assert found["R2/constant"] is None
    assert found["MAE/never known"] is None
    with pytest.raises(DataError, match="has 2 values, 3 predicted, for 3 names"):
        evaluator.update([ImageValues(torch.zeros(3))], [with_values([1, 2])])


def test_dense_regression_by_hand() -> None:
    evaluator = DenseRegressionEvaluator(["depth"])
    truth, predicted = [[1.0, 2.0], [4.0, np.nan]], [[1.2, 3.0], [4.0, 7.0]]
    evaluator.update([ValueMap(torch.tensor(predicted))], [with_map(truth)])
    found = evaluator.compute()
    logs = np.log([1.2, 1.5, 1.0])
    wanted = {
        "delta1": 2 / 3,
        "delta2": 3 / 3,
        "delta3": 3 / 3,
        "AbsRel": (0.2 + 0.5) / 3,
        "SqRel": (0.04 + 0.5) / 3,
        "RMSE": ((0.04 + 1.0) / 3) ** 0.5,
        "RMSElog": (logs**2).mean() ** 0.5,
        "log10": (logs / np.log(10)).mean(),
        "MAE": 1.2 / 3,
    }
    assert found == pytest.approx(wanted, rel=1e-6)


def test_dense_regression_counts_pixels_not_images_and_leaves_out_what_is_too_far() -> None:
    evaluator = DenseRegressionEvaluator(["depth"], maximum=10.0)
    evaluator.update([ValueMap(torch.ones(1, 1))], [with_map([[2.0]])])
    evaluator.update([ValueMap(torch.ones(1, 4))], [with_map([[1.0, 1.0, 1.0, 99.0]])])
    found = evaluator.compute()
    assert found["delta1"] == 3 / 4
    assert found["MAE"] == 1 / 4


def test_values_that_are_not_above_zero_enter_only_what_is_defined_for_them() -> None:
    evaluator = DenseRegressionEvaluator(["height"])
    evaluator.update([ValueMap(torch.tensor([[-1.0, -2.0]]))], [with_map([[-2.0, 2.0]])])
    found = evaluator.compute()
    assert found["MAE"] == pytest.approx((1 + 4) / 2)
    assert found["AbsRel"] == pytest.approx((2 + 2) / 2)
    assert found["delta3"] == 0
    with pytest.raises(DataError, match=r"the truth is \(1, 2\) \(height, width\), the prediction \(2, 1\)"):
        evaluator.update([ValueMap(torch.zeros(2, 1))], [with_map([[1.0, 1.0]])])
