"""Detectors in tiles: objects on every seam, found as in the whole picture, whatever the tiles and their order."""

from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pytest
import torch

import toolkit
from benchmarks.planted import CLASSES, DrawnRectangles, detector, planted
from toolkit.data.object_sizes import ObjectSizes
from toolkit.errors import ConfigError, PartsError
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.inference.several_looks import several_looks
from toolkit.inference.tiling.boxes import TiledBoxes
from toolkit.inference.tiling.seams import Found, Overlap, seen_by_neighbours, spans, without_doubles
from toolkit.models.vision_model import VisionModel
from toolkit.ops.boxes import box_iou
from toolkit.samples import Batch, Boxes, Detections, Truth

SIZE, SIDE = (1100, 1500), 256
SMALL = (500, 640)


def batch_of(picture: np.ndarray, original: tuple[int, int] | None = None) -> Batch:
    size = torch.tensor([picture.shape[:2]])
    images = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return Batch(images, size, torch.tensor([original]) if original else size, ("a",))


def model_of(longest: float | None) -> VisionModel:
    model = detector()
    if longest is not None:
        model.object_sizes = ObjectSizes(1000, (longest,) * 5, (longest,) * 5)
    return model


def seams(tiled: TiledBoxes) -> tuple[list[int], list[int]]:
    """y and x of all edges of tiles within the picture."""
    plan = tiled.plan(SIZE)
    assert plan is not None
    edges = [{n for one in line for n in (one.start, one.stop)} - {0, size}
             for line, size in zip((plan.rows, plan.columns), SIZE, strict=True)]  # fmt: skip
    return sorted(edges[0]), sorted(edges[1])


def ap(found: Detections, boxes: np.ndarray, labels: np.ndarray) -> float:
    evaluator = CocoEvaluator(list(CLASSES), 5000)
    evaluator.update([found], [Truth("a", 0, SIZE, boxes=Boxes.of(boxes, labels))])
    value = evaluator.compute()["AP"]
    assert value is not None
    return value


def recall(found: Detections, boxes: np.ndarray, labels: np.ndarray) -> float:
    same = torch.from_numpy(labels)[:, None] == found.labels
    return float(((box_iou(torch.from_numpy(boxes), found.boxes) > 0.99) & same).any(1).float().mean())


def test_a_thousand_objects_on_seams() -> None:
    model = model_of(32)
    tiled = TiledBoxes(model, SIDE)
    picture, boxes, labels = planted(SIZE, 1000, (4, 32), *seams(tiled))
    assert len(boxes) == 1000
    (whole,), (found,) = model.predict(batch_of(picture)), tiled(batch_of(picture))
    assert isinstance(whole, Detections)
    assert isinstance(found, Detections)
    assert recall(whole, boxes, labels) == 1
    assert recall(found, boxes, labels) >= 0.995
    assert abs(ap(found, boxes, labels) - ap(whole, boxes, labels)) <= 0.002
    assert len(found.boxes) == len(whole.boxes)
    assert found.classes == whole.classes
    assert (found.scores.diff() <= 0).all()


@pytest.mark.parametrize("side", [176, 300])
def test_the_number_of_tiles_changes_nothing(side: int) -> None:
    model = model_of(60)
    picture, _, _ = planted(SMALL, 80, (6, 60), range(80, 450, 80), range(80, 600, 80))
    (found,) = TiledBoxes(model, side)(batch_of(picture))
    (whole,) = model.predict(batch_of(picture))
    assert torch.equal(found[0].round(decimals=2), whole[0].round(decimals=2)) or _same_rows(found, whole)


def _same_rows(found: Detections, whole: Detections) -> bool:
    rows = [
        sorted(torch.cat([one.boxes, one.labels[:, None], one.scores[:, None]], 1).tolist()) for one in (found, whole)
    ]
    return bool(np.allclose(*rows, atol=1e-2))


def test_objects_larger_than_a_tile_are_seen_in_the_reduced_picture() -> None:
    model = model_of(None)
    picture = np.zeros((*SIZE, 3), np.uint8)
    truths = np.array([[200, 100, 800, 900], [900, 50, 1020, 1050], [1300, 40, 1360, 100]], np.float32)
    for label, (x1, y1, x2, y2) in enumerate(truths.astype(int).tolist()):
        picture[y1:y2, x1:x2, label] = 200
    (found,) = TiledBoxes(model, 192)(batch_of(picture))
    assert isinstance(found, Detections)
    assert sorted(found.labels.tolist()) == [0, 1, 2]
    order = found.labels.argsort()
    assert (box_iou(found.boxes[order], torch.from_numpy(truths)).diagonal() > 0.8).all()


def test_no_reduced_picture_where_the_training_had_no_larger_object() -> None:
    tiled = TiledBoxes(model_of(60), SIDE)
    plan = tiled.plan(SIZE)
    assert plan is not None
    assert plan.reduced is None
    assert min(one.holds for one in plan.overlaps) >= 60
    larger = model_of(60)
    larger.object_sizes = ObjectSizes(1000, (60, 60, 60, 60, 300), (60,) * 5)
    wanted = TiledBoxes(larger, SIDE).plan(SIZE)
    assert wanted is not None
    assert wanted.reduced == tuple(
        round(n * wanted.overlaps[0].holds / 300) for n in SIZE
    )  # where they fit, and no smaller
    larger.object_sizes = None
    unknown = TiledBoxes(larger, SIDE).plan(SIZE)
    assert unknown is not None
    assert unknown.reduced == (188, 256)


def test_large_objects_are_found_in_tiles_of_the_reduced_picture() -> None:
    model = model_of(60)
    model.object_sizes = ObjectSizes(1000, (60, 60, 60, 60, 200), (60, 60, 60, 60, 200))
    picture = np.zeros((*SIZE, 3), np.uint8)
    truths = np.array([[100, 100, 280, 290], [700, 500, 860, 690], [1300, 40, 1360, 100]], np.float32)
    for label, (x1, y1, x2, y2) in enumerate(truths.astype(int).tolist()):
        picture[y1:y2, x1:x2, label] = 200
    tiled = TiledBoxes(model, 192)
    (found,) = tiled(batch_of(picture))
    assert isinstance(found, Detections)
    assert sorted(found.labels.tolist()) == [0, 1, 2]
    assert (box_iou(found.boxes[found.labels.argsort()], torch.from_numpy(truths)).diagonal() > 0.9).all()


def test_boxes_are_in_the_file_s_pixels() -> None:
    model = model_of(60)
    picture, _, _ = planted(SMALL, 40, (6, 60), [256, 400], [256, 500])
    (found,) = TiledBoxes(model, SIDE)(batch_of(picture))
    (twice,) = TiledBoxes(model, SIDE)(batch_of(picture, (2 * SMALL[0], SMALL[1])))
    expected = sorted((found[0] * torch.tensor([1, 2, 1, 2])).tolist())
    assert np.allclose(sorted(twice[0].tolist()), expected, atol=1e-2)


def test_the_limit_is_the_picture_s_and_comes_back() -> None:
    model = model_of(60)
    model.head.limit_detections(count=30)
    picture, _, _ = planted(SMALL, 40, (6, 60), [256, 400], [256, 500])
    (found,), (whole,) = TiledBoxes(model, SIDE)(batch_of(picture)), model.predict(batch_of(picture))
    assert len(found[0]) == 30
    assert torch.equal(found[1], whole[1])
    assert model.head.max_detections == 30


def test_a_picture_that_fits_is_the_model_s_own_answer() -> None:
    model = model_of(60)
    picture, _, _ = planted((200, 250), 10, (6, 60), [100], [150])
    for tiled in (TiledBoxes(model, SIDE), TiledBoxes(model, "auto")):
        assert tiled.plan((200, 250)) is None
        assert torch.equal(tiled(batch_of(picture))[0][0], model.predict(batch_of(picture))[0][0])


def test_auto_cuts_by_memory() -> None:
    model = model_of(60)
    plan = TiledBoxes(model, "auto", memory=30 << 20).plan((3000, 3000))
    assert plan is not None
    assert 32 <= plan.rows[0].stop < 3000


def test_a_mirrored_look_in_tiles_is_that_of_the_whole() -> None:
    model = model_of(60)
    picture, boxes, labels = planted(SMALL, 40, (6, 60), [256], [256])
    (found,) = several_looks(model, 2, tile=256)(batch_of(picture))
    assert isinstance(found, Detections)
    assert recall(found, boxes, labels) == 1
    assert len(found.boxes) == len(boxes)


def test_each_picture_of_a_batch_is_answered_as_alone() -> None:
    model = model_of(60)
    pictures = [planted(SMALL, 20, (6, 60), [256], [256], seed)[0] for seed in range(2)]
    tiled = TiledBoxes(model, 256)
    one = batch_of(pictures[0])
    size = one.sizes.repeat(2, 1)
    images = torch.cat([batch_of(picture).images for picture in pictures])
    for found, picture in zip(tiled(Batch(images, size, size, ("a", "b"))), pictures, strict=True):
        (alone,) = tiled(batch_of(picture))
        assert torch.equal(found[0], alone[0])


def test_what_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tiled = TiledBoxes(model_of(None), SIDE)
    tiled.plan(SIZE)
    tiled.plan((1700, 800))
    (line,) = [record.getMessage() for record in caplog.records]
    assert "tiles of 256 pixels share 64 (rows) and 64 (columns), a quarter of them: these weights do not say" in line
    assert "larger ones are looked for in the whole picture at reduced size" in line
    caplog.clear()
    TiledBoxes(model_of(60), SIDE).plan(SIZE)
    assert "by the 1000 objects of the training, of up to 60 x 60" in caplog.text


def test_who_cannot_be_tiled_so() -> None:
    model = model_of(60)
    with pytest.raises(ConfigError, match="cannot share 250"):
        TiledBoxes(model, SIDE, 250).plan(SIZE)
    with pytest.raises(ConfigError, match="too small for this model: it needs 32"):
        TiledBoxes(model, 20).plan(SIZE)
    with pytest.raises(PartsError, match="wanted a detector"):
        TiledBoxes(toolkit.classifier("lenet5", 2), 64)
    with pytest.raises(ConfigError, match="pictures are shown whole"):
        several_looks(model, overlap=64)
    with pytest.raises(ConfigError, match="of detectors' tiles"):
        several_looks(toolkit.unet("resnet18", 2), tile=512, overlap=64)


# --------------------------------------------------------------------------- the rules, without a model


@pytest.mark.parametrize(
    ("length", "side", "overlap"), [(1000, 512, 100), (5000, 512, 256), (513, 512, 1), (777, 96, 32)]
)
def test_neighbours_share_what_was_asked_and_cover_the_line(length: int, side: int, overlap: int) -> None:
    line = spans(length, side, overlap, 32)
    assert line[0].start == 0
    assert line[-1].stop == length
    assert all(one.start % 32 == 0 and one.stop - one.start <= side for one in line)
    for one, following in pairwise(line):
        assert one.stop - following.start >= overlap
        assert (one.after, following.before) == (following.start, one.stop)


def test_every_object_that_tiles_hold_is_whole_in_one_of_them_even_if_they_differ() -> None:
    """Along a line: objects of all places and lengths, boxes of them moved by less than the margin in every tile."""
    overlap = Overlap(96)
    line = spans(1000, 256, overlap.pixels, 32)
    rng = np.random.default_rng(0)
    lengths = rng.uniform(2 * overlap.margin, overlap.holds - 2 * overlap.margin, 2000)
    low = rng.uniform(0, 1000 - lengths)
    answers = np.zeros(len(low), int)
    row = spans(10, 256, 1, 32)[0]
    for one in line:
        seen = (
            np.stack([low, low * 0, low + lengths, low * 0 + 5], 1)
            + rng.uniform(-0.5, 0.5, (len(low), 4)) * overlap.margin
        )
        seen[:, [0, 2]] = seen[:, [0, 2]].clip(one.start, one.stop)
        there = (seen[:, 2] > seen[:, 0]) & (low < one.stop) & (low + lengths > one.start)
        answers += there & (seen_by_neighbours(seen, (row, one), (Overlap(1), overlap)) == 0)
    assert (answers >= 1).all()


def test_a_piece_goes_only_for_a_box_that_is_sure_enough() -> None:
    piece = Found(np.array([[0, 0, 10, 10]], np.float32), np.array([0.8], np.float32), np.array([1]))
    none = piece.take(np.zeros(1, bool))

    def kept(score: float, label: int) -> int:
        large = Found(np.array([[0, 0, 100, 100]], np.float32), np.array([score], np.float32), np.array([label]))
        return len(without_doubles(none, piece, large).boxes)

    assert kept(0.5, 1) == 1
    assert kept(0.3, 1) == 2
    assert kept(0.9, 0) == 2


def test_the_order_of_tiles_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 900, (300, 2)).astype(np.float32)
    scores = rng.choice(np.array([0.5, 0.7, 0.9], np.float32), 300)
    every = Found(np.concatenate([near, near + 40], 1), scores, rng.integers(0, 2, 300))
    kinds = np.repeat([0, 1, 2], 100)
    mixed = rng.permutation(300)
    parts = [every.take(kinds == kind) for kind in range(3)]
    others = [every.take(mixed[kinds[mixed] == kind]) for kind in range(3)]
    for one, other in zip(without_doubles(*parts), without_doubles(*others), strict=True):
        assert np.array_equal(one, other)


def test_the_head_of_the_benchmark_is_a_detector() -> None:
    assert DrawnRectangles(7).max_detections == 7
