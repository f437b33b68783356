"""Label maps as palette PNGs beside their pictures: what `image_masks` reads."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from toolkit.data.writers.annotated import Annotated, Losses
from toolkit.data.writers.folder import Content, FolderWriter
from toolkit.drawing import full_palette
from toolkit.labels import Color


def encode_mask(labels: np.ndarray, colors: np.ndarray) -> bytes:
    """An (H, W) uint8 label map as the bytes of a palette PNG. colors: (256, 3) uint8."""
    picture = Image.fromarray(labels)
    picture.putpalette(colors.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)  # label maps are mostly runs: more effort gains little
    return buffer.getvalue()


def labelmap_text(names: Sequence[str], palette: Sequence[Color]) -> str:
    """CVAT's labelmap.txt: `name:r,g,b::` a line, in label order, which `colors: labelmap.txt` reads."""
    colors = full_palette(palette, len(names))
    rows = [f"{name}:{','.join(map(str, colors[label].tolist()))}::\n" for label, name in enumerate(names)]
    return "# label:color_rgb:parts:actions\n" + "".join(rows)


def drawn(image: Annotated, losses: Losses) -> np.ndarray:
    """The label map of an image. losses: takes the objects that are no single ones any more."""
    if image.label_map is None:
        raise ValueError(f"{image.picture} has no label map")
    losses.add("objects with corners, drawn as pixels of their class", len(image.objects))
    return image.label_map


class MasksFolder(FolderWriter):
    """`images/SPLIT/a.jpg` and `masks/SPLIT/a.png`, whose values are labels, 255 where nothing counts; `labelmap.txt`."""

    takes: ClassVar[tuple[Content, ...]] = ("outlines", "label_maps")

    def images_in(self, split: str) -> str:
        """The folder of a split's pictures."""
        return f"images/{split}"

    def annotate(self, split: str, image: Annotated, channels: int) -> None:
        """Writes the mask of one image.

        Args:
            split: name of the split it belongs to.
            image: the image with its label map.
            channels: number of channels of its picture; not needed here.
        """
        losses = Losses()
        colors = full_palette(self.classes.palette, len(self.classes.names))
        self.write(f"masks/{split}/{image.stem}.png", encode_mask(drawn(image, losses), colors), losses)

    def finish(self) -> None:
        """The table of classes."""
        self.write("classes.txt", "".join(f"{name}\n" for name in self.classes.names))
        self.write("labelmap.txt", labelmap_text(self.classes.names, self.classes.palette))

    def read_by(self, split: str) -> dict[str, Any]:
        """Data set `image_masks`."""
        return {"name": "image_masks", "images": f"images/{split}", "masks": f"masks/{split}"}
