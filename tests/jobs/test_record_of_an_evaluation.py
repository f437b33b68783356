"""`evaluate` leaves a record: everything in one folder, made of what was counted, for one set of weights."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tiny_detection import tiny_detection_config
from tiny_run import tiny_config

from toolkit.cli.evaluate import command
from toolkit.errors import ConfigError, DataError, UserError
from toolkit.jobs.evaluate import RecordWishes, run_evaluation
from toolkit.jobs.predicted_files import PredictedFiles
from toolkit.jobs.report import write_report
from toolkit.jobs.train import run_training
from toolkit.labels import ClassTable
from toolkit.models.weights import read_weights, save_weights, tensors_digest
from toolkit.results.record import Record
from toolkit.samples import LabelMap, Truth


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of label maps and one of boxes, without records."""
    place = tmp_path_factory.mktemp("trained")
    run_training(tiny_config(place / "pixels"), place / "segmentation", quiet=True)
    run_training(tiny_detection_config(place / "boxes", "evaluate.evaluators=[coco]"), place / "detection", quiet=True)
    return {task: place / task for task in ("segmentation", "detection")}


@pytest.fixture
def runs(trained: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Copies of them that a test may write into."""
    return {task: Path(shutil.copytree(run, tmp_path / task)) for task, run in trained.items()}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def numbers_of(folder: Path) -> dict[str, Any]:
    """Sections of metrics.json that counts decide: a convolution rounds losses and scores otherwise in another batch."""
    value = json.loads((folder / "metrics.json").read_text())
    return {name: value[name] for name in ("metrics", "baseline", "confusion", "errors")}


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "per_image.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_everything_is_written_and_the_same_again(runs: dict[str, Path], task: str) -> None:
    result = run_evaluation(runs[task], quiet=True)
    folder = runs[task] / "evaluation" / "val"
    assert result["record"] == str(folder)
    wanted = {"metrics.json", "record.npz", "per_image.csv"} | ({"results.json"} if task == "detection" else set())
    assert set(files_of(folder)) >= wanted
    value = json.loads((folder / "metrics.json").read_text())
    assert value["metrics"] == result["metrics"]
    assert value["about"]["task"] == task
    assert value["about"]["weights"] == tensors_digest(read_weights(runs[task] / "best.safetensors")[0])
    assert len(table_of(folder)) == result["images"] == 3
    before = files_of(folder)
    run_evaluation(runs[task], quiet=True)
    assert {name: data for name, data in files_of(folder).items() if name != "report.html"} == {
        name: data for name, data in before.items() if name != "report.html"
    }


@pytest.mark.parametrize(
    ("task", "override"),
    [
        ("segmentation", "data.workers=2"),
        ("detection", "evaluate.batch_size=3"),
        pytest.param("segmentation", "evaluate.batch_size=3", marks=pytest.mark.slow),
        pytest.param("detection", "data.workers=2", marks=pytest.mark.slow),
    ],
)
def test_batches_and_workers_change_nothing(runs: dict[str, Path], task: str, override: str) -> None:
    folder = runs[task] / "evaluation" / "val"
    run_evaluation(runs[task], overrides=["evaluate.batch_size=1"], quiet=True)
    before, first, rows = Record.read(folder), numbers_of(folder), table_of(folder)
    run_evaluation(runs[task], overrides=[override], quiet=True)
    assert numbers_of(folder) == first
    assert table_of(folder) == rows
    after = Record.read(folder)
    assert list(after.arrays) == list(before.arrays)
    counted = [name for name in after.arrays if not name.startswith(("score_", "suspect_"))]  # of bins of probabilities
    for name in counted:
        array = after.arrays[name]
        np.testing.assert_allclose(array, before.arrays[name], rtol=1e-4, atol=1e-3, err_msg=name)


def test_the_counts_of_all_images_make_the_numbers(runs: dict[str, Path]) -> None:
    result = run_evaluation(runs["segmentation"], quiet=True)
    rows = table_of(runs["segmentation"] / "evaluation" / "val")
    record = Record.read(runs["segmentation"] / "evaluation" / "val")
    for name in record.classes:
        right, true, predicted = (
            sum(int(row[f"{kind}/{name}"]) for row in rows) for kind in ("right", "true", "predicted")
        )
        below = true + predicted - right
        assert result["metrics"][f"IoU/{name}"] == (right / below if below else None)
        assert result["metrics"][f"Acc/{name}"] == (right / true if true else None)
    assert [row["image"] for row in rows] == list(record.images)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_the_row_of_an_image_is_an_evaluation_of_it_alone(runs: dict[str, Path], task: str) -> None:
    run_evaluation(runs[task], quiet=True)
    rows = table_of(runs[task] / "evaluation" / "val")
    record = Record.read(runs[task] / "evaluation" / "val")
    from toolkit.evaluators.coco import CocoEvaluator
    from toolkit.evaluators.semantic import SemanticEvaluator

    for place, row in enumerate(rows):
        evaluator = (SemanticEvaluator if task == "segmentation" else CocoEvaluator)(list(record.classes))
        evaluator.merge(record.take([place]).arrays)
        for name, value in evaluator.compute().items():
            assert row[name] == ("" if value is None else repr(value)), (row["image"], name)


def test_pycocotools_takes_the_results_and_finds_the_same_ap(runs: dict[str, Path], tmp_path: Path) -> None:
    result = run_evaluation(runs["detection"], quiet=True)
    folder = runs["detection"] / "evaluation" / "val"
    record = Record.read(folder)
    arrays = record.arrays
    owners = np.repeat(record.image_ids, arrays["truth_counts"])
    boxes = arrays["truth_boxes"].copy()
    boxes[:, 2:] -= boxes[:, :2]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number} for number in record.image_ids.tolist()],
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(record.classes)],
        "annotations": [
            {
                "id": place + 1,
                "image_id": int(owner),
                "category_id": int(label) + 1,
                "bbox": box,
                "area": float(area),
                "iscrowd": 0,
            }
            for place, (owner, label, box, area) in enumerate(
                zip(owners, arrays["truth_labels"], boxes.tolist(), arrays["truth_area"], strict=True)
            )
        ],
    }
    truth.createIndex()
    judged = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    for place, name in enumerate(("AP", "AP50", "AP75")):
        assert result["metrics"][name] == pytest.approx(judged.stats[place], abs=1e-12)


def test_other_weights_and_options_need_a_folder_of_their_own(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["segmentation"]
    run_evaluation(run, quiet=True)
    before = files_of(run / "evaluation" / "val")
    with pytest.raises(ConfigError, match=r"other options.*--out"):
        run_evaluation(run, overrides=["evaluate.exclude=[background]"], quiet=True)
    state, metadata = read_weights(run / "best.safetensors")
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    save_weights(run / "best.safetensors", {**state, name: state[name] + 1}, metadata)
    with pytest.raises(ConfigError, match=r"other weights.*--out"):
        run_evaluation(run, quiet=True)
    assert files_of(run / "evaluation" / "val") == before
    wishes = RecordWishes(out=tmp_path / "other")
    result = run_evaluation(run, overrides=["evaluate.exclude=[background]"], quiet=True, wishes=wishes)
    about = Record.read(tmp_path / "other").about
    assert result["record"] == str(tmp_path / "other")
    assert about["excluded"] == ["background"]
    assert about["options"] == {"evaluate.exclude": ["background"]}


def test_more_metadata_beside_the_same_tensors_is_the_same_weights(runs: dict[str, Path]) -> None:
    run = runs["segmentation"]
    run_evaluation(run, quiet=True)
    state, metadata = read_weights(run / "best.safetensors")
    save_weights(run / "best.safetensors", state, {**metadata, "thresholds": {"circle": 0.4}})
    run_evaluation(run, quiet=True)


def test_a_folder_that_cannot_be_written_is_said_before_the_work(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        run_evaluation(runs["segmentation"], quiet=True, wishes=RecordWishes(out=tmp_path / "file" / "below"))


def test_weights_outside_of_a_run_are_measured_without_a_record(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copy(runs["segmentation"] / "best.safetensors", tmp_path / "alone" / "some.safetensors")
    assert run_evaluation(tmp_path / "alone" / "some.safetensors", quiet=True)["record"] is None
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["some.safetensors"]


def test_masks_are_written_when_they_are_wanted(runs: dict[str, Path]) -> None:
    from PIL import Image

    run_evaluation(runs["segmentation"], quiet=True, wishes=RecordWishes(save_predictions=True))
    folder = runs["segmentation"] / "evaluation" / "val"
    record = Record.read(folder)
    masks = sorted((folder / "masks").rglob("*.png"))
    assert [path.relative_to(folder / "masks").with_suffix("").as_posix() for path in masks] == [
        name.rpartition(".")[0] for name in record.images
    ]
    predicted = record.class_pixels[:, 2]
    for row, path in zip(predicted, masks, strict=True):
        assert (np.bincount(np.asarray(Image.open(path)).reshape(-1), minlength=len(row)) >= row).all()


def test_groups_come_from_a_rule_or_from_near_copies(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["segmentation"]
    run_evaluation(run, quiet=True)
    record = Record.read(run / "evaluation" / "val")
    assert record.about["groups"]["rule"] is None
    assert len(set(record.groups)) == record.about["groups"]["number"]
    table = tmp_path / "groups.csv"
    table.write_text("image,group\n" + "".join(f"{name},{place // 2}\n" for place, name in enumerate(record.images)))
    for rule, groups in ((str(table), ["0", "0", "1"]), ("folder", ["images/val"] * 3), ("(val)", ["val"] * 3)):
        run_evaluation(run, quiet=True, wishes=RecordWishes(group=rule))
        found = Record.read(run / "evaluation" / "val")
        assert list(found.groups) == groups
        assert [row["group"] for row in table_of(run / "evaluation" / "val")] == groups
        assert found.about["groups"]["rule"] == rule
    table.write_text("image,group\nnobody.png,1\n")
    with pytest.raises(DataError, match=r"groups\.csv.*names none"):
        run_evaluation(run, quiet=True, wishes=RecordWishes(group=str(table)))
    with pytest.raises(DataError, match="matches none"):
        run_evaluation(run, quiet=True, wishes=RecordWishes(group="patient([0-9]+)"))


def test_every_value_of_a_tag_gets_its_numbers(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["segmentation"]
    whole = run_evaluation(run, quiet=True)
    names = Record.read(run / "evaluation" / "val").images
    table = tmp_path / "tags.csv"
    table.write_text(f"image,time,all\n{names[0]},night,x\n{names[1]},day,x\n{names[2]},day,x\n")
    run_evaluation(run, quiet=True, wishes=RecordWishes(tags=table))
    record = Record.read(run / "evaluation" / "val")
    slices = record.numbers["slices"]
    assert {value: part["images"] for value, part in slices["time"].items()} == {"day": 2, "night": 1}
    assert slices["all"]["x"]["metrics"] == whole["metrics"]
    right, true, predicted = record.class_pixels[1:].sum(0)
    assert slices["time"]["day"]["metrics"][f"IoU/{record.classes[0]}"] == right[0] / (true + predicted - right)[0]
    assert [row["tag/time"] for row in table_of(run / "evaluation" / "val")] == ["night", "day", "day"]
    table.write_text("image,time\nnobody.png,day\n")
    with pytest.raises(DataError, match=r"tags\.csv.*names none"):
        run_evaluation(run, quiet=True, wishes=RecordWishes(tags=table))


def test_json_holds_what_scripts_read(runs: dict[str, Path]) -> None:
    shown = CliRunner().invoke(command, [str(runs["segmentation"]), "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert {"metrics", "intervals", "baseline", "record", "checkpoint", "split", "images", "losses"} <= found.keys()
    assert found["record"] == str(runs["segmentation"] / "evaluation" / "val")


@pytest.mark.parametrize("steps", [pytest.param(8, marks=pytest.mark.slow), 20])
def test_a_training_leaves_the_record_of_its_best_weights(tmp_path: Path, steps: int) -> None:
    """With a rate that ruins what was learnt, the best weights are not the last ones."""
    rate = ["train.optimizer.lr=0.01"] if steps == 8 else ["train.optimizer.lr=0.5", "train.schedule=null"]
    config = tiny_config(tmp_path / "data", "evaluate.record=true", f"train.steps={steps}", *rate)
    run_training(config, tmp_path / "run", quiet=True)
    folder = tmp_path / "run" / "evaluation" / "val"
    written = files_of(folder)
    best = read_weights(tmp_path / "run" / "best.safetensors")
    about = json.loads(written["metrics.json"])
    assert about["about"]["weights"] == tensors_digest(best[0])
    assert about["metrics"] == best[1]["metrics"]
    run_evaluation(tmp_path / "run", quiet=True)  # the same weights and options: it may be written anew
    again = files_of(folder)
    assert {name: again[name] for name in ("record.npz", "per_image.csv")} == {
        name: written[name] for name in ("record.npz", "per_image.csv")
    }


def test_label_maps_of_coco_files_become_results_with_their_ids(tmp_path: Path) -> None:
    from types import SimpleNamespace

    maps = np.random.default_rng(0).integers(0, 3, (2, 9, 11)).astype(np.uint8)
    dataset = SimpleNamespace(category_ids=(4, 7, 9))
    table = ClassTable(("a", "b", "c"), ())
    files = PredictedFiles(tmp_path, table, False, dataset)  # type: ignore[arg-type]
    for number, label_map in ((30, maps[0]), (12, maps[1])):
        truth = Truth(f"{number}.png", number, (9, 11), label_map)
        files.add([LabelMap(torch.from_numpy(label_map))], [truth])
    files.finish(SimpleNamespace(world_size=1, is_global_zero=True))
    entries = json.loads((tmp_path / "results.json").read_text())
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [
        (i, c) for i in (12, 30) for c in (4, 7, 9)
    ]
    for entry in entries:
        label_map = maps[0] if entry["image_id"] == 30 else maps[1]
        found = coco_masks.decode(entry["segmentation"])
        assert np.array_equal(found.astype(bool), label_map == (4, 7, 9).index(entry["category_id"]))


def test_the_page_is_made_again_from_the_record_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["segmentation"]
    run_evaluation(run, quiet=True)
    folder = run / "evaluation" / "val"
    page, numbers = (folder / "report.html").read_text(), (folder / "metrics.json").read_bytes()
    (folder / "report.html").unlink()
    assert write_report(run) == {"report": str(folder / "report.html"), "record": str(folder), "notes": []}
    assert (folder / "report.html").read_text() == page
    assert (folder / "metrics.json").read_bytes() == numbers
    (run / "config.yaml").unlink()  # which says where the images are
    told = write_report(folder, out=tmp_path / "page.html")
    assert told["report"] == str(tmp_path / "page.html")
    assert "no pictures" in told["notes"][0]
    assert (folder / "report.html").read_text() == page
    with pytest.raises(ConfigError, match="toolkit evaluate"):
        write_report(run, "test")
