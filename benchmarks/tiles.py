"""Large pictures in tiles: labels to the last digit against the whole picture; boxes against SAHI's slices."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.planted import CLASSES, detector, planted
from benchmarks.rows import Goal, Measurements, Missing, Row, Way, Work, from_package
from toolkit.backbones.unet_encoder import UNetEncoder
from toolkit.data.object_sizes import ObjectSizes
from toolkit.heads.pixel import PixelHead
from toolkit.inference.tiling.boxes import TiledBoxes
from toolkit.inference.tiling.seams import Found, without_doubles
from toolkit.inference.tiling.tiled import MEMORY, TiledPrediction
from toolkit.models.vision_model import VisionModel
from toolkit.necks.skip import SkipNeck
from toolkit.ops.boxes import box_iou, suppress
from toolkit.samples import Batch, Detections, Sample, collate

SAHI = "--no-deps sahi shapely fire"  # what sahi asks for brings a second OpenCV


def rows() -> list[Row]:
    return [
        Row(
            "tiles",
            "exact tiles of 1024, picture 1500 × 2000, small U-Net",
            tiles,
            (Goal("the whole picture", most=1.7), Goal("sliding window", most=1.0)),
            rounds=3,
            grows=True,
        ),
        Row(
            "box_tiles",
            "1,000 planted objects, tiles of 512, picture 2000 × 3000",
            box_tiles,
            (Goal("sahi", least=1.0),),
            rounds=3,
            budget=20.0,
        ),
        Row(
            "box_merge",
            "33,000 boxes of tiles made one answer, 3 classes",
            box_merge,
            (Goal("torchvision nms", least=10.0), Goal("sahi nms", least=10.0)),
            rounds=3,
            budget=20.0,
            limit_seconds=0.2,
        ),
        Row(
            "tiles_1gb",
            "tiles within 1 GB, picture 3000 × 4000, small U-Net",
            within_memory,
            (Goal("the whole picture", most=1.25),),
            rounds=1,
            budget=0.0,
            limit_bytes=MEMORY,
        ),
    ]


def tiles(work: Work) -> Measurements:
    """The labels of the picture; `scale` makes it longer."""
    height, width = (160, 480) if work.toy else (1500 * work.scale, 2000)
    side = 320 if work.toy else 1024
    model, batch = _small_net(), _noise(height, width)
    tiled = TiledPrediction(model, side)

    def ours() -> Tensor:
        with torch.inference_mode():
            return tiled(batch)[0].labels

    def sliding() -> Tensor:
        return sliding_window(model, batch.images, side, side // 4)

    ways: dict[str, Way | Missing] = {"toolkit": ours, "the whole picture": lambda: model.predict(batch)[0].labels}
    return work.in_turn({**ways, "sliding window": sliding}, same_labels)


def within_memory(work: Work) -> Measurements:
    """The labels of a picture in the tiles that 1 GB allows; `--only-ours` finds the memory that it takes."""
    model, batch = _small_net(), _noise(*((160, 480) if work.toy else (3000, 4000)))
    tiled = TiledPrediction(model, 320) if work.toy else TiledPrediction(model, memory=MEMORY)

    def ours() -> torch.Tensor:
        with torch.inference_mode():
            return tiled(batch)[0].labels

    return work.in_turn({"toolkit": ours, "the whole picture": lambda: model.predict(batch)[0].labels}, same_labels)


def _small_net() -> VisionModel:
    """A U-Net that sees 109 pixels around."""
    torch.manual_seed(0)
    backbone = UNetEncoder(3, 16, padding="same", norm="batch")
    neck = SkipNeck(backbone.spec, norm="batch", upsample="bilinear")
    classes = [str(number) for number in range(11)]
    return VisionModel(backbone, neck, PixelHead(neck.spec, len(classes)), classes).eval()


def _noise(height: int, width: int) -> Batch:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return collate([Sample(pixels, "", 0, (height, width))])


def sliding_window(model: VisionModel, images: Tensor, side: int, overlap: int) -> Tensor:
    """As for models of segmentation-models-pytorch: windows that overlap by a quarter, the mean of their logits."""
    images = F.pad(images, (0, -images.shape[-1] % 32, 0, -images.shape[-2] % 32))
    height, width = images.shape[-2:]
    total, times = torch.zeros((model.num_classes, height, width)), torch.zeros((height, width))
    step = side - overlap
    with torch.inference_mode():
        for top in sorted({min(y, max(height - side, 0)) for y in range(0, height, step)}):
            for left in sorted({min(x, max(width - side, 0)) for x in range(0, width, step)}):
                there = (slice(top, top + side), slice(left, left + side))
                total[(slice(None), *there)] += model(images[..., there[0], there[1]])[0]
                times[there] += 1
    return (total / times).argmax(0).to(torch.uint8)


def same_labels(returned: dict[str, Tensor]) -> None:
    one, other = returned["toolkit"], returned["the whole picture"]
    assert (one != other).float().mean() < 1e-4, "the labels differ"


def box_tiles(work: Work) -> Measurements:
    """All boxes of a picture whose objects lie on seams, by a detector that finds drawn rectangles."""
    (size, count, side) = ((300, 400), 20, 128) if work.toy else ((2000, 3000), 1000, 512)
    model = detector()
    model.object_sizes = ObjectSizes(count, (60.0,) * 5, (60.0,) * 5)
    tiled = TiledBoxes(model, side)
    plan = tiled.plan(size)
    assert plan is not None
    lines = [
        [one.start for one in line if one.start] + [one.stop for one in line[:-1]] for line in (plan.rows, plan.columns)
    ]
    picture, boxes, labels = planted(size, count, (6, 60), *lines)
    batch = collate([Sample(picture, "", 0, size)])
    overlap = tiled.overlaps[0].pixels

    def same(returned: dict[str, Detections]) -> None:
        assert recall(returned["toolkit"], boxes, labels) >= 0.995, "objects are missing"

    def ours() -> Detections:
        found = tiled(batch)[0]
        assert isinstance(found, Detections)
        return found

    ways: dict[str, Way | Missing] = {
        "toolkit": ours,
        "sahi": from_package(SAHI, lambda: sahi_way(model, picture, side, overlap)),
    }
    return work.in_turn(ways, same)


def recall(found: Detections, boxes: np.ndarray, labels: np.ndarray) -> float:
    """Share of planted objects that have a box of their class on them, to the pixel."""
    same = torch.from_numpy(labels)[:, None] == found.labels
    return float(((box_iou(torch.from_numpy(boxes), found.boxes) > 0.99) & same).any(1).float().mean())


def sahi_way(model: VisionModel, picture: np.ndarray, side: int, overlap: int) -> Way:
    """SAHI's sliced prediction with the same detector, slices and overlap, without its pass of the whole picture."""
    from sahi.models.base import DetectionModel
    from sahi.predict import get_sliced_prediction
    from sahi.prediction import ObjectPrediction

    class Wrapped(DetectionModel):
        def check_dependencies(self, *_: Any, **__: Any) -> None:
            pass

        def load_model(self) -> None:
            self.set_model(model)

        def set_model(self, model: Any, **_: Any) -> None:
            self.model = model
            self.category_mapping = {str(label): name for label, name in enumerate(CLASSES)}

        def perform_inference(self, image: np.ndarray) -> None:
            size = (image.shape[0], image.shape[1])
            self._original_predictions = model.predict(collate([Sample(np.ascontiguousarray(image), "", 0, size)]))[0]

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            shift = shift_amount_list[0] if isinstance(shift_amount_list[0], list) else shift_amount_list
            full = full_shape_list[0] if isinstance(full_shape_list[0], list) else full_shape_list
            found = self._original_predictions
            rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
            self._object_prediction_list_per_image = [[
                ObjectPrediction(bbox=box, category_id=label, category_name=CLASSES[label], score=score,
                                 shift_amount=shift, full_shape=full)
                for box, score, label in rows
            ]]  # fmt: skip

    wrapped = Wrapped(model=model, confidence_threshold=0.0)

    def sliced() -> Detections:
        found = get_sliced_prediction(
            picture, wrapped, slice_height=side, slice_width=side,
            overlap_height_ratio=overlap / side, overlap_width_ratio=overlap / side, perform_standard_pred=False, verbose=0,
        ).object_prediction_list  # fmt: skip
        return Detections(
            torch.tensor([one.bbox.to_xyxy() for one in found], dtype=torch.float32).reshape(-1, 4),
            torch.tensor([one.score.value for one in found]),
            torch.tensor([one.category.id for one in found], dtype=torch.int64),
        )

    return sliced


def box_merge(work: Work) -> Measurements:
    """Boxes that two tiles have of each object, a little apart, of which one stays; it may take 20 MB."""
    count, side = (400, 600.0) if work.toy else (33_000, 6000.0)
    rng = np.random.default_rng(0)
    near, extent = rng.uniform(0, side, (count // 2, 2)), rng.uniform(20, 80, (count // 2, 2))
    once = np.concatenate([near, near + extent], 1)
    boxes = np.concatenate([once, once + rng.normal(0, 2, once.shape)]).astype(np.float32)
    labels = np.concatenate([rng.integers(0, 3, count // 2)] * 2)
    scores = rng.permutation(count).astype(np.float32) / count
    every, nothing = Found(boxes, scores, labels), Found.of([])

    def ours() -> Tensor:
        found = without_doubles(every, nothing, nothing)
        parts = (torch.from_numpy(field) for field in found)
        kept_boxes, kept_scores, kept_labels = parts
        return kept_scores[suppress(kept_boxes, kept_scores, kept_labels, 0.5)]

    def torchvision() -> Tensor:
        from torchvision.ops import nms

        stays = []
        for label in range(3):
            own = torch.from_numpy(np.flatnonzero(labels == label))
            stays.append(own[nms(torch.from_numpy(boxes)[own], torch.from_numpy(scores)[own], 0.5)])
        return torch.from_numpy(scores)[torch.cat(stays)].sort(descending=True)[0]

    def sahi() -> Way:
        from sahi.postprocess.combine import batched_nms

        table = np.concatenate([boxes, scores[:, None], labels[:, None]], 1).astype(np.float32)
        return lambda: batched_nms(table, "IOU", 0.5)

    def same(returned: dict[str, Any]) -> None:
        assert torch.equal(returned["toolkit"], returned["torchvision nms"]), "other boxes stay"
        tracemalloc.start()
        ours()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 20e6, f"merging took {peak / 1e6:.1f} MB"

    ways: dict[str, Way | Missing] = {
        "toolkit": ours, "torchvision nms": torchvision, "sahi nms": from_package(SAHI, sahi),
    }  # fmt: skip
    return work.in_turn(ways, same)
