"""Anybody's predictions are measured from files, and files that cannot be are refused by their names."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tiny_run import write_tiny

from toolkit.cli.evaluate import command
from toolkit.errors import ConfigError, DataError, UserError
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.jobs.evaluate_files import evaluate_files
from toolkit.results.record import Record
from toolkit.samples import LabelMap, Truth

NAMES = ["sky", "road", "car"]


def write_masks(folder: Path, seed: int, count: int = 5) -> dict[str, np.ndarray]:
    """Masks of several sizes by name; a tenth of the annotated pixels do not count."""
    rng = np.random.default_rng(seed)
    masks = {}
    for number in range(count):
        size = (12 + number, 20)
        mask = np.random.default_rng(number).integers(0, 3, size).astype(np.uint8)  # the same for both sides
        changed = rng.random(size) < 0.2
        mask[changed] = rng.integers(0, 3, int(changed.sum()))
        name = f"clip{number % 2}/{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(folder / name)
        masks[name] = mask
    return masks


@pytest.fixture
def masks(tmp_path: Path) -> tuple[Path, Path]:
    """Predicted and annotated masks."""
    write_masks(tmp_path / "answers", 1)
    write_masks(tmp_path / "truth", 2)
    return tmp_path / "answers", tmp_path / "truth"


def test_masks_are_counted_as_an_evaluator_counts_them(tmp_path: Path) -> None:
    answers, truth = write_masks(tmp_path / "answers", 1), write_masks(tmp_path / "truth", 2)
    evaluator = SemanticEvaluator(NAMES)
    for name, mask in truth.items():
        evaluator.update([LabelMap(torch.from_numpy(answers[name]))], [Truth(name, 0, mask.shape, mask)])
    result = evaluate_files(tmp_path / "answers", tmp_path / "truth", classes=NAMES, group="folder")
    assert result["metrics"] == evaluator.compute()
    record = Record.read(tmp_path / "answers_evaluation")
    assert result["record"] == str(tmp_path / "answers_evaluation")
    assert set(record.groups) == {"clip0", "clip1"}
    assert np.array_equal(record.confusion.sum(0), evaluator.confusion)
    assert {path.name for path in (tmp_path / "answers_evaluation").iterdir()} >= {"per_image.csv", "metrics.json"}


def test_labels_without_names_are_numbered_and_it_is_said(masks: tuple[Path, Path]) -> None:
    result = evaluate_files(*masks)
    assert Record.read(Path(result["record"])).classes == ("0", "1", "2")
    assert any("--classes" in note for note in result["notes"])


def test_what_predict_wrote_beside_a_mask_is_passed_over_and_said(masks: tuple[Path, Path]) -> None:
    alone = evaluate_files(*masks, classes=NAMES, out=masks[0].parent / "alone")
    for ending in ("_overlay.jpg", "_heat.jpg", "_uncertainty.png", ".tif"):
        Image.fromarray(np.zeros((12, 20), np.uint8)).save(masks[0] / "clip0" / f"0{ending}")
    both = evaluate_files(*masks, classes=NAMES, out=masks[0].parent / "both")
    assert both["metrics"] == alone["metrics"]
    assert any(
        "4 results of other formats were passed over: clip0/0.tif, clip0/0_heat.jpg" in note for note in both["notes"]
    )
    (masks[0] / "clip0" / "0.png").rename(masks[0] / "clip0" / "0_overlay.png")  # no result of ours is called so
    with pytest.raises(DataError, match=r"belong to none of the 5.*0_overlay\.png"):
        evaluate_files(*masks, classes=NAMES, out=masks[0].parent / "wrong")


def spoil(answers: Path, truth: Path, fault: str) -> None:
    first = answers / "clip0" / "0.png"
    if fault == "missing":
        first.unlink()
    elif fault == "unknown":
        first.rename(first.with_name("nobody.png"))
    elif fault == "size":
        Image.fromarray(np.zeros((3, 4), np.uint8)).save(first)
    elif fault == "label":
        Image.fromarray(np.full((12, 20), 7, np.uint8)).save(first)
    elif fault == "damaged":
        first.write_bytes(b"no picture")
    elif fault == "order":
        (answers / "classes.txt").write_text("road\nsky\ncar\n")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", r"answers.*1 of the 5.*no mask here: clip0/0\.png"),
        ("unknown", r"belong to none of the 5.*nobody\.png"),
        ("size", r"0\.png.*3x4.*12x20"),
        ("label", r"0\.png.*outside the table: 7"),
        ("damaged", r"0\.png"),
        ("order", r"classes\.txt.*road, sky, car.*sky, road, car"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused_by_name(masks: tuple[Path, Path], fault: str, said: str) -> None:
    spoil(*masks, fault)
    with pytest.raises(DataError, match=said):
        evaluate_files(*masks, classes=NAMES)
    assert not (masks[0].parent / "answers_evaluation" / "metrics.json").exists()


def test_other_predictions_in_the_same_folder_are_refused(masks: tuple[Path, Path]) -> None:
    evaluate_files(*masks, classes=NAMES)
    evaluate_files(*masks, classes=NAMES)  # the same again
    Image.fromarray(np.zeros((12, 20), np.uint8)).save(masks[0] / "clip0" / "0.png")
    with pytest.raises(ConfigError, match=r"other predictions.*--out"):
        evaluate_files(*masks, classes=NAMES)
    evaluate_files(*masks, classes=NAMES, out=masks[0].parent / "second")


# --------------------------------------------------------------------------- boxes


def coco(seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations with a crowd, an image without boxes and ids with gaps, and results with ties."""
    rng = np.random.default_rng(seed)
    truth: dict[str, Any] = {
        "images": [{"id": 10 * n + 7, "file_name": f"{n}.jpg", "height": 100, "width": 120} for n in range(8)],
        "categories": [{"id": 3, "name": "cell"}, {"id": 90, "name": "dust"}],
        "annotations": [],
    }
    results = []
    for image in truth["images"][1:]:
        for _ in range(int(rng.integers(1, 5))):
            box = [*rng.integers(0, 60, 2).tolist(), *rng.integers(5, 40, 2).tolist()]
            category = int(rng.choice([3, 90]))
            entry = {"id": len(truth["annotations"]) + 1, "image_id": image["id"], "category_id": category, "bbox": box,
                     "area": box[2] * box[3], "iscrowd": int(rng.random() < 0.1)}  # fmt: skip
            truth["annotations"].append(entry)
            moved = [value + int(rng.integers(-3, 4)) for value in box[:2]] + box[2:]
            results += [{"image_id": image["id"], "category_id": category, "bbox": moved, "score": round(rng.random(), 1)}
                        for _ in range(int(rng.integers(0, 3)))]  # fmt: skip
    return truth, results


def write_coco(folder: Path, results: Any = None) -> tuple[Path, Path]:
    truth, own = coco()
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(own if results is None else results))
    return folder / "results.json", folder / "truth.json"


def test_coco_results_have_the_ap_of_pycocotools(tmp_path: Path) -> None:
    answers, truth = write_coco(tmp_path)
    result = evaluate_files(answers, truth)
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth))
        judged = COCOeval(annotated, annotated.loadRes(str(answers)), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        again = COCOeval(annotated, annotated.loadRes(str(tmp_path / "results_evaluation" / "results.json")), "bbox")
        again.evaluate()
        again.accumulate()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    for name, value in zip(names, judged.stats.tolist(), strict=True):
        assert result["metrics"][name] == (None if value == -1 else pytest.approx(value, abs=1e-12)), name
    assert np.array_equal(judged.eval["precision"], again.eval["precision"])
    assert Record.read(tmp_path / "results_evaluation").about["category_ids"] == [3, 90]
    assert any("0.jpg" in note for note in result["notes"])  # an image without a detection


def test_results_that_count_pictures_are_found_by_their_files(tmp_path: Path) -> None:
    results = coco()[1]
    answers, truth = write_coco(tmp_path)
    expected = evaluate_files(answers, truth)["metrics"]
    counted = [
        {**entry, "image_id": 87 - entry["image_id"] + 7, "file": str(entry["image_id"] // 10)} for entry in results
    ]
    answers.write_text(json.dumps(counted))
    told = evaluate_files(answers, truth, out=tmp_path / "counted")
    assert told["metrics"] == expected
    assert any("found by `file` in each entry" in note for note in told["notes"])
    del counted[3]["file"]
    answers.write_text(json.dumps(counted))
    with pytest.raises(DataError, match=r"a file that no annotated image has: entry 3 has None"):
        evaluate_files(answers, truth, out=tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": float("nan")}, "score.*no finite number"),
        ({"image_id": 5}, "image_id that no annotated image has"),
        ({"category_id": 4}, "category_id that the annotations have not"),
        ({"bbox": [1, 2, -3, 4]}, "bbox"),
        ({"bbox": [1, 2, float("inf"), 4]}, "bbox"),
        ({"bbox": "1 2 3 4"}, "bbox"),
    ],
)
def test_wrong_entries_are_refused_with_their_number(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    results = coco()[1]
    results[3] |= change
    answers, truth = write_coco(tmp_path, results)
    with pytest.raises(DataError, match=rf"results\.json.*1 of {len(results)} entries.*{said}.*entry 3"):
        evaluate_files(answers, truth)


@pytest.mark.parametrize("results", [{"boxes": []}, "text", 4])
def test_a_file_that_is_no_list_of_results_is_refused(tmp_path: Path, results: Any) -> None:
    answers, truth = write_coco(tmp_path, results)
    with pytest.raises(DataError, match=r"results\.json.*wanted a list of entries"):
        evaluate_files(answers, truth)


def test_what_the_annotations_left_out_is_told(tmp_path: Path) -> None:
    answers, truth = write_coco(tmp_path)
    content = json.loads(truth.read_text())
    content["annotations"][1]["id"] = content["annotations"][0]["id"]
    truth.write_text(json.dumps(content))
    notes = evaluate_files(answers, truth)["notes"]
    assert any("1 annotation ids stand more than once" in note for note in notes)


def test_categories_in_another_order_are_refused(tmp_path: Path) -> None:
    content = {"categories": [{"id": 3, "name": "dust"}, {"id": 90, "name": "cell"}], "annotations": coco()[1]}
    answers, truth = write_coco(tmp_path, content)
    with pytest.raises(DataError, match=r"called otherwise.*3 is dust, annotated as cell"):
        evaluate_files(answers, truth)


# --------------------------------------------------------------------------- a config's data set


def test_masks_against_the_data_set_of_a_config(tmp_path: Path) -> None:
    from toolkit.config.load import load_config
    from toolkit.jobs.build_data import build_dataset

    config = write_tiny(tmp_path, tmp_path / "data")
    dataset = build_dataset(load_config(config), "val")
    for sample in dataset:
        (tmp_path / "answers" / sample.name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.label_map).save((tmp_path / "answers" / sample.name).with_suffix(".png"))
    result = evaluate_files(tmp_path / "answers", config)
    assert result["metrics"]["aAcc"] == 1.0
    assert (tmp_path / "answers_evaluation" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--predictions", "results.json"], "needs --annotations"),
        (["--predictions", "results.json", "--annotations", "truth.json", "--classes", "a,b"], "--classes"),
        (["--predictions", "results.json", "--annotations", "truth.json", "a=b"], "only a config"),
        (["runs/mine", "--predictions", "results.json", "--annotations", "truth.json"], "no checkpoint"),
        (["--annotations", "truth.json"], "belong to --predictions"),
        ([], "wanted a run folder"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    write_coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(command, arguments)
    assert isinstance(shown.exception, UserError)
    assert shown.exception.exit_code == 2
    assert said in str(shown.exception)


def test_the_command_line_measures_files(tmp_path: Path) -> None:
    answers, truth = write_coco(tmp_path)
    shown = CliRunner().invoke(command, ["--predictions", str(answers), "--annotations", str(truth), "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["metrics"].keys() >= {"AP", "AP/cell", "AP/dust"}
