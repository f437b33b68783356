"""Pascal VOC's XML, one file an image: boxes of whole pixels, counted from 1, both ends inclusive.

Format: the VOC2012 development kit, section 8 ("annotation"); numbers there are those of Matlab.
"""

from __future__ import annotations

import posixpath
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from toolkit.data.formats.outlines import outline_box
from toolkit.data.writers.annotated import Annotated, Losses
from toolkit.data.writers.folder import FolderWriter
from toolkit.data.writers.masks import drawn, encode_mask, labelmap_text
from toolkit.drawing import full_palette

_SMALLEST = 1e-3
"""Pixels from which on rounding is told: less is noise of float32."""


def voc_xml(image: Annotated, channels: int, losses: Losses) -> str:
    """The annotation of one image.

    Args:
        image: the image and its objects.
        channels: number of channels of the picture, for `depth`.
        losses: takes what whole pixels, and VOC's tags, cannot hold.
    """
    height, width = image.size
    folder, name = posixpath.split(image.picture)
    lines = [
        "<annotation>",
        f"  <folder>{_text(folder)}</folder>",
        f"  <filename>{_text(name)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>{channels}</depth></size>",
        f"  <segmented>{int(image.label_map is not None)}</segmented>",
    ]
    for place, one in enumerate(image.objects):
        box = np.array(outline_box(one), np.float64)
        x1, y1, x2, y2 = _whole(box, image.size)
        moved = float(np.abs(box - (x1, y1, x2, y2)).max())
        if moved > _SMALLEST:
            losses.add("boxes rounded to whole pixels", most=moved)
        losses.add("outlines of objects, of which the box is kept", int(not one.is_box))
        losses.add("marks of a crowd region", int(one.crowd))
        flags = f"<difficult>{int(image.is_difficult(place))}</difficult>"
        corners = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        score = f"<score>{image.scores[place]:.8g}</score>" if image.scores else ""
        lines.append(
            f"  <object><name>{_text(one.label)}</name><pose>Unspecified</pose><truncated>0</truncated>{flags}{score}"
            f"<bndbox>{corners}</bndbox></object>"
        )
    return "\n".join([*lines, "</annotation>", ""])


def _whole(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The nearest whole pixels, at least one wide and high, inside of the image."""
    height, width = size
    x1, y1, x2, y2 = np.floor(box + 0.5).astype(int).tolist()
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return x1, y1, min(max(x2, x1 + 1), width), min(max(y2, y1 + 1), height)


def _text(words: str) -> str:
    return escape("".join(sign if sign.isprintable() else " " for sign in words))


class VocFolder(FolderWriter):
    """`JPEGImages`, and `Annotations` with XML files, or `SegmentationClass` with palette PNGs; lists in `ImageSets`."""

    flat = True

    def images_in(self, split: str) -> str:
        """One folder for the pictures of all splits."""
        return "JPEGImages"

    def annotate(self, split: str, image: Annotated, channels: int) -> None:
        """Writes the XML of an image with boxes, or the mask of one with classes of pixels.

        Args:
            split: name of the split it belongs to, for the lists.
            image: the image and its annotation.
            channels: number of channels of its picture.
        """
        losses = Losses()
        if self.content == "boxes":
            named = image._replace(picture=f"JPEGImages/{image.picture}")
            self.write(f"Annotations/{image.stem}.xml", voc_xml(named, channels, losses), losses)
            return
        colors = full_palette(self.classes.palette, len(self.classes.names))
        self.write(f"SegmentationClass/{image.stem}.png", encode_mask(drawn(image, losses), colors), losses)

    def finish(self) -> None:
        """Lists of the splits, and the table of classes."""
        self.write("labelmap.txt", labelmap_text(self.classes.names, self.classes.palette))
        self.write_lists("ImageSets/Main" if self.content == "boxes" else "ImageSets/Segmentation")
        if self.content == "boxes":
            self.write("classes.txt", "".join(f"{name}\n" for name in self.classes.names))

    def read_by(self, split: str) -> dict[str, Any]:
        """Data set `voc`, or `image_masks`."""
        if self.content == "boxes":
            return {"name": "voc", "split": split}
        lists = f"ImageSets/Segmentation/{split}.txt"
        return {"name": "image_masks", "images": "JPEGImages", "masks": "SegmentationClass", "split": lists}
