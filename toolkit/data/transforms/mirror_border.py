"""Training crops for nets of unpadded convolutions: pictures grow by mirroring, labels by pixels that do not count."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from annotated_types import Interval

from toolkit.contracts import TRANSFORMS, Transform
from toolkit.data.transforms.box_geometry import moved_boxes
from toolkit.samples import IGNORE_INDEX, Sample

_Pixels = Annotated[int, Interval(ge=0, le=32_767)]
"""OpenCV counts the sides of a picture with 16 bits in many places."""


@TRANSFORMS.register("mirror_border")
class MirrorBorder(Transform):
    """Mirrors `border` pixels around the image, and more at the bottom and right until it has (height, width) pixels.

    The edge itself is not repeated. The new pixels have no labels. Before a `random_crop`, every pixel of the picture
    can so become one that the net answers (Yu and Koltun's training: 186, and crops of 500 to 1396).

    Args:
        border: pixels that are mirrored at each edge, 0 or more.
        height: least height in pixels, reached by mirroring more at the bottom.
        width: least width in pixels, reached by mirroring more at the right.
    """

    moves = True

    def __init__(self, border: _Pixels = 0, height: _Pixels = 0, width: _Pixels = 0) -> None:
        self.border, self.height, self.width = border, height, width

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        old_height, old_width = sample.image.shape[:2]
        bottom = self.border + max(0, self.height - old_height - 2 * self.border)
        right = self.border + max(0, self.width - old_width - 2 * self.border)
        edges = (self.border, bottom, self.border, right)
        image = cv2.copyMakeBorder(sample.image, *edges, cv2.BORDER_REFLECT_101)
        size = (old_height + self.border + bottom, old_width + self.border + right)

        def grown(array: np.ndarray | None, fill: float) -> np.ndarray | None:
            if array is None:
                return None
            whole = np.full(size, fill, array.dtype)
            whole[self.border : self.border + old_height, self.border : self.border + old_width] = array
            return whole

        return sample._replace(
            image=image.reshape(*size, sample.image.shape[2]),
            label_map=grown(sample.label_map, IGNORE_INDEX),
            value_map=grown(sample.value_map, float("nan")),
            weight_map=grown(sample.weight_map, 0.0),
            boxes=sample.boxes and moved_boxes(sample.boxes, 1, 1, -self.border, -self.border, size),
        )
