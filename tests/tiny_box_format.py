"""A box format of somebody's own: a text file a split with `image x1 y1 x2 y2 class` lines. One file, no more."""

from __future__ import annotations

from pathlib import Path

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import ImageBoxes, index_boxes
from toolkit.data.formats.image_listing import existing_images
from toolkit.data.formats.name_lists import read_lines
from toolkit.data.formats.pairs import existing_folder
from toolkit.errors import Place


class TinyBoxFormat(BoxDataset):
    """Images and a list of boxes in pixels.

    Args:
        classes: names of the labels 0..K-1, as they stand in the list.
        root: folder of the images and of the lists.
        split: name of the list, without `.txt`.
        fix_boxes: what to do with boxes outside their image or without area.
    """

    def __init__(self, classes: list[str], root: str, split: str = "train", fix_boxes: FixBoxes = "stop") -> None:
        folder, problems = existing_folder(root), ProblemList()
        listing = folder / f"{split}.txt"
        found = _read(listing, classes, problems)
        names = existing_images(folder, list(found), listing, problems)
        images = [one._replace(name=name) for one, name in zip(found.values(), names, strict=True)]
        super().__init__(classes, folder, index_boxes(images, str(listing), problems, fix_boxes=fix_boxes))


def _read(listing: Path, classes: list[str], problems: ProblemList) -> dict[str, ImageBoxes]:
    found: dict[str, ImageBoxes] = {}
    for number, line in enumerate(read_lines(listing, "list of boxes"), 1):
        name, *corners, label = line.split()
        one = found.setdefault(name, ImageBoxes(name, [], [], annotation=str(listing), places=[]))
        where = Place(str(listing), number)
        if label not in classes:
            position = list(found).index(name)
            problems.add("boxes of unknown classes", where, f"class '{label}' is none of {classes}", image=position)
            continue
        one.xyxy.append([float(corner) for corner in corners])  # type: ignore[attr-defined]
        one.labels.append(classes.index(label))  # type: ignore[attr-defined]
        one.places.append(where)  # type: ignore[attr-defined]
    return found
