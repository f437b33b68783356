"""The page of an evaluation says what the record says, whatever is missing."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_record import CLASSES, box_record, box_samples, label_record, label_samples, write_record
from tiny_run import tiny_config

from toolkit.engine.evaluate import counted_rows
from toolkit.evaluators.classification import ClassificationEvaluator
from toolkit.jobs.build_data import build_dataset
from toolkit.report.evaluation.page import evaluation_page, write_evaluation_page
from toolkit.report.evaluation.pictures import reader_of, thresholds
from toolkit.results.record import Record
from toolkit.samples import ImageScores, Sample, Truth


def words(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


def written(folder: Path, record, samples: list[Sample], run: Path | None = None) -> str:
    write_record(record, folder, [place / 10 for place in range(len(samples))])
    return write_evaluation_page(folder, {sample.name: sample for sample in samples}.get, run).read_text(
        encoding="utf-8"
    )


def test_the_headline_has_its_interval_its_baseline_and_the_command(tmp_path: Path) -> None:
    samples = label_samples(5)
    record = label_record(samples)
    text = words(written(tmp_path, record, samples))
    assert f"{100 * record.numbers['metrics']['mIoU']:.2f} %" in text
    assert "12.34 to 98.76" in text
    assert "'background' everywhere has 22.22 %" in text
    assert "toolkit evaluate 'runs/mine run'" in text
    assert record.numbers["errors"]["advice"] in text
    for name in CLASSES:
        assert name in text


def test_without_an_interval_the_page_says_why(tmp_path: Path) -> None:
    samples = label_samples(3)
    record = label_record(samples)
    why = "no interval: 1 independent group"
    none = {"value": 0.5, "low": None, "high": None, "groups": 1, "why": why}
    within = {"blocks": 3, "said": "by blocks of one second", "intervals": {"mIoU": {"low": 0.4321, "high": 0.5432}}}
    text = words(written(tmp_path, record.with_numbers(intervals={"mIoU": none}, within=within), samples))
    assert why in text
    assert "43.21 to 54.32 by blocks of one second" in text


def test_tagged_images_have_numbers_of_their_own(tmp_path: Path) -> None:
    samples = label_samples(3)
    part = {"images": 2, "groups": 1, "metrics": {"mIoU": 0.3456}}
    text = words(written(tmp_path, label_record(samples).with_numbers(slices={"weather": {"fog": part}}), samples))
    assert "weather fog 34.56 2 1" in text


def test_names_from_outside_are_never_markup(tmp_path: Path) -> None:
    samples = [
        sample._replace(name=f"<script>alert({place})</script>.png") for place, sample in enumerate(label_samples(3))
    ]
    page = written(tmp_path, label_record(samples, split="<i>val</i>"), samples)
    assert "<b>cow" not in page
    assert "<script>alert" not in page
    assert "<i>val" not in page


@pytest.mark.parametrize("section", ["metrics", "intervals", "baseline", "errors", "confusion"])
def test_a_section_that_is_missing_is_left_out(tmp_path: Path, section: str) -> None:
    samples = label_samples(3)
    record = label_record(samples)
    numbers = {name: value for name, value in record.numbers.items() if name != section}
    cut = type(record)(**{**{f: getattr(record, f) for f in record.__dataclass_fields__}, "numbers": numbers})
    text = words(written(tmp_path, cut, samples))
    assert ("Confusion" in text) == (section != "confusion")
    assert ("Where it fails" in text) == (section != "errors")


def test_without_images_there_is_a_page_without_pictures(tmp_path: Path) -> None:
    samples = label_samples(3)
    write_record(label_record(samples), tmp_path, [0.1, 0.2, 0.3])
    alone = write_evaluation_page(tmp_path).read_text(encoding="utf-8")
    assert "pictures: the images are not where they were" in words(alone)
    gone = write_evaluation_page(tmp_path, lambda name: None).read_text(encoding="utf-8")
    assert "pictures: no image could be read" in words(gone)


def test_curves_and_config_of_the_run_are_shown(tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    events = [{"step": step, "loss": 1 / step} for step in range(1, 5)] + [{"step": 4, "val/mIoU": 0.5}]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, events)) + "\nhalf a li", encoding="utf-8")
    (run / "config.yaml").write_text("train:\n  steps: 4 # <few>\n", encoding="utf-8")
    samples = label_samples(3)
    text = words(written(tmp_path / "evaluation", label_record(samples), samples, run))
    assert "training loss" in text or "Loss by step" in written(tmp_path / "again", label_record(samples), samples, run)
    assert "steps: 4 # <few>" in text
    assert text.strip().startswith("mine")


def test_operating_points_are_drawn_and_decide_which_boxes_are(tmp_path: Path) -> None:
    samples = box_samples(4)
    record = box_record(samples)
    curve = {"threshold": [0.9, 0.8, 0.1], "precision": [1.0, 0.9, 0.5], "recall": [0.1, 0.6, 0.9]}
    point = {"threshold": 0.85, "precision": 0.9, "recall": 0.6, "f1": 0.72, "reached": True}
    points = {
        "goal": "precision=0.9",
        "chosen_on": "val",
        "reported_on": "test",
        "by_class": {"cat": point},
        "curves": {"cat": curve},
    }
    page = written(tmp_path, record.with_numbers(operating_points=points), samples)
    assert "cat: score 0.850 and above, precision 90 %, recall 60 %" in page
    assert "precision=0.9, chosen on val, reported on test" in words(page)
    limits, sentence = thresholds(record.with_numbers(operating_points=points))
    assert limits.tolist() == [0.5, 0.85, 0.5, 0.5]
    assert "cat 0.85" in sentence
    assert sentence in words(page)
    assert "cat 0.70" not in words(page)  # below its operating point
    assert "cat 0.70" in words(written(tmp_path / "plain", record.with_numbers(operating_points=None), samples))


def test_suspicious_labels_are_cut_out(tmp_path: Path) -> None:
    for samples, record in [(s := label_samples(3), label_record(s)), (b := box_samples(3), box_record(b))]:
        item = {"image": samples[1].name, "place": 1, "box": [20, 10, 30, 20], "crop": [2, 0, 42, 35], "kind": "missing",
                "label": None, "answer": CLASSES[2], "suspicion": 0.97, "reason": "the model is sure of a dog"}  # fmt: skip
        folder = tmp_path / record.about["task"]
        page = written(folder, record.with_numbers(worklist=[item]), samples)
        assert "the model is sure of a dog" in words(page)
        assert "Labels to look at again" in words(page)
        assert 'viewBox="0 0 ' in page  # the mark on the crop
        assert 'data-part="label missing?"' in page


def test_a_page_of_many_images_is_small_enough_for_mail(tmp_path: Path) -> None:
    samples = label_samples(500, (60, 80))
    noise = np.random.default_rng(0)
    record = label_record(samples)

    def read(name: str) -> Sample:
        sample = samples[int(Path(name).stem)]
        return sample._replace(image=noise.integers(0, 256, (500, 700, 3), np.uint8))  # the worst for JPEG

    write_record(record, tmp_path, [place / 500 for place in range(500)])
    page = write_evaluation_page(tmp_path, read)
    assert page.stat().st_size < 15e6
    text = words(page.read_text(encoding="utf-8"))
    assert re.search(r"\d+ of 500 images are shown", text)


@pytest.mark.parametrize("says_files", [True, False])
def test_a_reader_finds_images_by_their_names(
    tmp_path: Path, says_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = build_dataset(tiny_config(tmp_path / "d"), "val")
    if not says_files:
        monkeypatch.setattr(type(dataset), "files", lambda self, index: ())
    read = reader_of(dataset)
    for sample in dataset:
        found = read(sample.name)
        assert found is not None
        assert np.array_equal(found.image, sample.image)
    assert read("elsewhere.png") is None


def test_a_background_has_no_colour_in_the_legend(tmp_path: Path) -> None:
    samples = label_samples(3)
    page = written(tmp_path, label_record(samples), samples)
    legend = page[page.index('<p class="legend">') :]
    legend = legend[: legend.index("</p>")]
    assert "</i>cat" in legend
    assert "</i>background" not in legend


def test_the_page_is_the_same_each_time(tmp_path: Path) -> None:
    samples = label_samples(6)
    record = label_record(samples)
    read = {sample.name: sample for sample in samples}.get
    assert evaluation_page(record, tmp_path, read) == evaluation_page(record, tmp_path, read)


def test_tasks_without_maps_or_boxes_have_a_page_too(tmp_path: Path) -> None:
    samples = [one._replace(label_map=None, image_label=place % 2) for place, one in enumerate(label_samples(4))]
    evaluator = ClassificationEvaluator(["cat", "dog"])
    answers = [ImageScores(torch.tensor([0.2, 0.8])) for _ in samples]
    rows = counted_rows([evaluator], answers, [Truth.of(sample) for sample in samples])
    about = {"task": "classification", "metric": "top1", "classes": ["cat", "dog"], "split": "val"}
    record = Record.of(rows, about).with_numbers(metrics=evaluator.compute())
    text = words(written(tmp_path, record, samples))
    assert "50.00 %" in text
    assert "4 of 4 images are shown" in text
