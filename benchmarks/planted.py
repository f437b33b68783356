"""Objects planted where tiles meet, and a detector that needs no training: it finds drawn rectangles, to the pixel.

What a tile's edge cuts it sees as far as the tile shows it, as any detector does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.contracts import Backbone, FeaturePyramid, Head, PixelStats, PyramidSpec, SizeRule
from toolkit.models.vision_model import VisionModel
from toolkit.ops.boxes import suppress
from toolkit.samples import Batch, Detections, Prediction

STRIDE = 16
CLASSES = ("red", "green", "blue")


class Unshuffled(Backbone):
    """The pixels themselves, as one map of stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.pixel_stats = PixelStats((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.spec = PyramidSpec((3 * STRIDE**2,), (STRIDE,), sizes=SizeRule(multiple=STRIDE))
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Blocks of 16 x 16 pixels as channels."""
        size = (images.shape[-2], images.shape[-1])
        return FeaturePyramid((F.pixel_unshuffle(images + 0 * self.anchor, STRIDE),), self.spec, size)


class DrawnRectangles(Head):
    """Every rectangle of one of three pure colours; its score is how bright it is."""

    gives = Detections

    def __init__(self, per_image: int = 10_000) -> None:
        super().__init__()
        self.per_image = per_image

    @property
    def max_detections(self) -> int:
        """The most boxes of an image."""
        return self.per_image

    def limit_detections(
        self, score: float | None = None, count: int | None = None, nms_iou: float | None = None
    ) -> None:
        """See `Head.limit_detections`; only the count matters here."""
        self.per_image = count or self.per_image

    def merged(self, found: Sequence[Detections]) -> Detections:
        """See `Head.merged`."""
        boxes, scores, labels = (torch.cat(fields) for fields in zip(*found, strict=True))
        keep = suppress(boxes, scores, labels, 0.5)[: self.per_image]
        return Detections(boxes[keep], scores[keep], labels[keep])

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """The picture again, (N, 3, H, W)."""
        return F.pixel_shuffle(pyramid.maps[0], STRIDE)

    def loss(self, pyramid: FeaturePyramid, batch: Batch) -> dict[str, Tensor]:
        """There is none: it learns nothing."""
        raise NotImplementedError

    def predict(self, pyramid: FeaturePyramid, batch: Batch) -> list[Prediction]:
        """`Detections` of each image."""
        images = self(pyramid)
        found: list[Prediction] = []
        for image, size, original in zip(images, batch.sizes.tolist(), batch.original_sizes.tolist(), strict=True):
            height, width = size
            boxes, scores, labels = _rectangles((image[:, :height, :width] * 255).byte().numpy())
            factors = torch.tensor([original[1] / width, original[0] / height] * 2)
            best = scores.argsort(descending=True, stable=True)[: self.per_image]
            found.append(Detections(boxes[best] * factors, scores[best], labels[best]))
        return found


def _rectangles(image: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels of the lit parts of a picture (3, H, W) uint8."""
    boxes, scores, labels = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros(0, int)]
    for label, channel in enumerate(image):
        _, _, stats, centres = cv2.connectedComponentsWithStats((channel > 64).astype(np.uint8))
        left, top, width, height = stats[1:, :4].T
        boxes.append(np.stack([left, top, left + width, top + height], 1))
        x, y = centres[1:].T.astype(int)
        scores.append(channel[y, x] / 255)
        labels.append(np.full(len(left), label))
    return (
        torch.from_numpy(np.concatenate(boxes)).float(),
        torch.from_numpy(np.concatenate(scores)).float(),
        torch.from_numpy(np.concatenate(labels)),
    )


def detector() -> VisionModel:
    """The detector of drawn rectangles."""
    return VisionModel(Unshuffled(), None, DrawnRectangles(), list(CLASSES)).eval()


def planted(
    size: tuple[int, int],
    count: int,
    sides: tuple[int, int],
    rows: Iterable[int],
    columns: Iterable[int],
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A black picture (H, W, 3) uint8 with rectangles that lie over lines, none touching another; boxes and labels.

    Args:
        size: (height, width) of the picture in pixels.
        count: how many rectangles; fewer where there is no room.
        sides: shortest and longest side of a rectangle in pixels.
        rows: y of lines; every second rectangle lies over one.
        columns: x of lines, for the others.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    picture, taken = np.zeros((*size, 3), np.uint8), np.zeros(size, bool)
    lines = list(rows), list(columns)
    boxes, labels = [], []
    for _ in range(40 * count):
        if len(boxes) == count:
            break
        extent = rng.integers(sides[0], sides[1] + 1, 2)
        corner = np.array([rng.integers(0, max(1, n - side)) for n, side in zip(size, extent, strict=True)])
        axis = len(boxes) % 2 if all(lines) else int(bool(lines[1]))
        if lines[axis]:
            corner[axis] = rng.choice(lines[axis]) - rng.integers(1, extent[axis])
        y, x = corner.tolist()
        bottom, right = (corner + extent).tolist()
        near = (slice(max(y - 2, 0), bottom + 2), slice(max(x - 2, 0), right + 2))
        if min(y, x) < 0 or bottom > size[0] or right > size[1] or taken[near].any():
            continue
        label = int(rng.integers(3))
        picture[y:bottom, x:right, label] = rng.integers(128, 256)
        taken[y:bottom, x:right] = True
        boxes.append((x, y, right, bottom))
        labels.append(label)
    return picture, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)
