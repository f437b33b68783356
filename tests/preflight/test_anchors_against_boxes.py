"""The best overlap of each box with the anchors of its image, and anchors that fit better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_detection import tiny_detection_config

from toolkit.contracts import AnchorLayout
from toolkit.jobs.build_data import build_dataset, build_transforms
from toolkit.jobs.check import check_config
from toolkit.ops.anchors import base_anchors, grid_anchors, inside_image
from toolkit.ops.boxes import box_iou
from toolkit.preflight.findings import Report
from toolkit.preflight.model.anchors import best_overlaps, check_anchors, fitted, recall
from toolkit.preflight.model.geometry_trace import SeenBoxes, boxes_seen


def boxes_of(xyxy: np.ndarray, size: tuple[int, int], labels: np.ndarray | None = None) -> SeenBoxes:
    labels = np.zeros(len(xyxy), np.int64) if labels is None else labels
    return SeenBoxes(np.asarray(xyxy, np.float64), labels, np.tile(np.array(size), (len(xyxy), 1)))


def random_boxes(count: int, size: tuple[int, int], seed: int = 0) -> SeenBoxes:
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, [size[1] - 12, size[0] - 12], (count, 2))
    side = generator.uniform(4, [size[1], size[0]], (count, 2))
    return boxes_of(np.concatenate([corner, np.minimum(corner + side, [size[1], size[0]])], 1), size)


@pytest.mark.parametrize("style", ["torchvision", "detectron2", "caffe"])
@pytest.mark.parametrize("inside", [False, True])
def test_overlaps_are_those_with_the_whole_grid(style: str, inside: bool) -> None:
    """Against every anchor of every cell, compared one by one."""
    size, strides = (96, 128), (8, 16)
    layout = AnchorLayout((2.0, 3.3), (0.5, 1.0, 2.2), style, strides, 0.7, inside, "rpn.anchors")
    boxes = random_boxes(60, size)
    grids = []
    for stride in strides:
        base = base_anchors(stride, layout.scales, layout.ratios, layout.style)
        base = base + torch.tensor([0, 0, 1, 1]) if style == "caffe" else base
        grids.append(grid_anchors(base, (size[0] // stride, size[1] // stride), (stride, stride)))
    anchors = torch.cat(grids)
    if inside:
        anchors = anchors[inside_image(anchors, size)]
    wanted = box_iou(torch.tensor(boxes.xyxy, dtype=torch.float32), anchors).amax(1).numpy()
    found = best_overlaps(boxes, layout)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_boxes_that_are_anchors_overlap_fully() -> None:
    layout = AnchorLayout((4.0,), (1.0,), "detectron2", (8,), 0.7, False, "rpn.anchors")
    boxes = boxes_of(np.array([[16.0, 16.0, 48.0, 48.0], [24.0, 32.0, 56.0, 64.0]]), (96, 96))
    assert best_overlaps(boxes, layout).tolist() == [1.0, 1.0]
    # Half a cell away: 28 x 28 of 32 x 32 in common.
    moved = boxes_of(np.array([[20.0, 20.0, 52.0, 52.0]]), (96, 96))
    assert best_overlaps(moved, layout)[0] == pytest.approx(28 * 28 / (2 * 1024 - 28 * 28))


def test_a_small_box_has_no_anchor_among_large_ones() -> None:
    layout = AnchorLayout((8.0,), (1.0,), "torchvision", (16,), 0.7, False, "rpn.anchors")
    report = Report()
    boxes = np.array([[x, 40.0, x + 12, 52.0] for x in range(10, 160, 10)])
    check_anchors(report, boxes_of(boxes, (192, 192)), layout, ["cell"])
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ("anchors", "warning")
    assert "15 of 15 training boxes have no anchor that overlaps them by 0.7 (cell 0% of their class do)" in str(
        finding.problem
    )
    assert "anchors: {scales: [" in finding.problem.suggestion
    assert report.statistics["anchors"]["recall"] == 0.0
    # A 12 pixel box fits only where it stands near the middle of one of the cells, 16 pixels apart.
    assert report.statistics["anchors"]["suggestion"]["recall"] == pytest.approx(2 / 15, abs=1e-3)


def test_fitted_anchors_cover_more_and_repeat() -> None:
    layout = AnchorLayout((8.0,), (0.5, 1.0, 2.0), "torchvision", (4, 8, 16, 32), 0.7, False, "rpn.anchors")
    generator = np.random.default_rng(3)
    width = generator.choice([20.0, 55.0, 100.0], 300) * generator.uniform(0.9, 1.1, 300)
    corner = generator.uniform(0, 200, (300, 2))
    boxes = boxes_of(np.concatenate([corner, corner + np.stack([width, width * 1.8], 1)], 1), (480, 480))
    better = fitted(boxes, layout)
    assert better is not None
    before, after = (recall(best_overlaps(boxes, one), 0.7) for one in (layout, better))
    assert after > before + 0.2
    assert fitted(boxes, layout) == better


def test_no_better_anchors_are_invented_where_all_boxes_are_covered() -> None:
    layout = AnchorLayout((4.0,), (1.0,), "detectron2", (8,), 0.7, False, "rpn.anchors")
    report = Report()
    check_anchors(report, boxes_of(np.array([[16.0, 16.0, 48.0, 48.0]] * 4), (96, 96)), layout, ["cell"])
    assert report.warnings == []
    assert "suggestion" not in report.statistics["anchors"]


def test_crowds_and_difficult_boxes_are_left_out_and_sizes_are_after_the_transforms(tmp_path: Path) -> None:
    config = tiny_detection_config(tmp_path / "d", "data.train.transforms=[{name: resize, height: 96, width: 128}]")
    dataset = build_dataset(config, "train")
    seen = boxes_seen(dataset, build_transforms(config, "train"), 0)
    samples = [dataset[index] for index in range(len(dataset))]
    boxes = np.concatenate([sample.boxes.xyxy for sample in samples if sample.boxes is not None])
    assert set(map(tuple, seen.sizes.tolist())) == {(96, 128)}  # twice the 48x64 they are stored in
    np.testing.assert_allclose(seen.xyxy, boxes * 2, atol=1e-3)


def test_the_suggestion_pasted_gives_the_promised_recall(tmp_path: Path) -> None:
    bad = "model.head.rpn.anchors={scales: [12.0], ratios: [0.2, 5.0]}"
    before = check_config(tiny_detection_config(tmp_path / "d", bad))
    offered = before.statistics["anchors"]["suggestion"]
    line = offered["yaml"].removeprefix("anchors: ")
    after = check_config(tiny_detection_config(tmp_path / "d", f"{offered['key']}={line}"))
    assert before.statistics["anchors"]["recall"] < 0.3
    assert after.statistics["anchors"]["recall"] == offered["recall"]
    assert after.statistics["anchors"]["recall"] > before.statistics["anchors"]["recall"] + 0.3
    assert [finding.kind for finding in before.findings] == ["anchors"]
    assert not after.findings
