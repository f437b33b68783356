"""LabelMe's folders, as label maps and as boxes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from toolkit.contracts import DATASETS
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.labelme_file import LabelmeFile, read_labelme_file
from toolkit.data.formats.outlined import Drawing, OutlinedBoxes, OutlinedDataset
from toolkit.data.formats.outlines import ImageOutlines, Overlaps, note_shapeless
from toolkit.data.formats.pairs import existing_folder, name_in
from toolkit.data.images.listing import image_files, same_name
from toolkit.errors import DataError, Problem, listed
from toolkit.progress import tracked

Unlabelled = Literal["leave_out", "background"]
"""Images without an annotation file: nobody has looked at them yet, or there is nothing on them."""


@DATASETS.register("labelme")
class Labelme(OutlinedDataset):
    """Images with a LabelMe JSON each, as label maps: shapes drawn one over the other.

    Polygons, rectangles, circles and masks are drawn; lines and points have no area and are counted. Shapes named
    `__ignore__` do not count, `_background_` is the background.

        ROOT/train/a.jpg   ROOT/train/a.json                    (images: train)
        ROOT/images/a.jpg  ROOT/labels/a.json                   (images: images, annotations: labels)

    Args:
        root: the data set's folder, which the other paths are relative to.
        images: folder of the images, searched with all below it.
        annotations: folder of the JSON files; None: they lie beside the images.
        classes: names in label order; None: the background, then the labels found, sorted: another split may have
            others, so give the list.
        background: class of the pixels outside of all shapes; "ignore": they do not count.
        overlaps: which shape a pixel of several gets: "file_order", that of the later one in the file, or
            "larger_first", that of the smaller one.
        unlabelled: what images without a JSON are: not annotated yet ("leave_out"), or "background".

    Raises:
        DataError: with every problem of every file.
    """

    def __init__(
        self,
        root: str,
        images: str = ".",
        annotations: str | None = None,
        classes: list[str] | None = None,
        background: str = "background",
        overlaps: Overlaps = "file_order",
        unlabelled: Unlabelled = "leave_out",
    ) -> None:
        folder, problems = existing_folder(root), ProblemList()
        found, source = _read(folder, images, annotations, unlabelled, problems)
        super().__init__(classes, folder, found, source, problems, Drawing(background, overlaps))


@DATASETS.register("labelme_boxes")
class LabelmeBoxes(OutlinedBoxes):
    """Images with a LabelMe JSON each, as boxes: the smallest one around each shape, or group of shapes.

    Layouts and shapes as data set `labelme` reads them; shapes of one label and one `group_id` are one object.

    Args:
        root: the data set's folder, which the other paths are relative to.
        images: folder of the images, searched with all below it.
        annotations: folder of the JSON files; None: they lie beside the images.
        classes: names in label order; None: the labels found, sorted: another split may have others, so give the list.
        unlabelled: what images without a JSON are: not annotated yet ("leave_out"), or "background".
        keep_empty: whether images without objects stay, as background.
        fix_boxes: what to do with boxes outside their image or without area.

    Raises:
        DataError: with every problem of every file.
    """

    def __init__(
        self,
        root: str,
        images: str = ".",
        annotations: str | None = None,
        classes: list[str] | None = None,
        unlabelled: Unlabelled = "leave_out",
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
    ) -> None:
        folder, problems = existing_folder(root), ProblemList()
        found, source = _read(folder, images, annotations, unlabelled, problems)
        super().__init__(classes, folder, found, source, problems, keep_empty, fix_boxes)


def _read(
    root: Path, images: str, annotations: str | None, unlabelled: Unlabelled, problems: ProblemList
) -> tuple[list[ImageOutlines], Path]:
    """Every annotated image, and the folder that was read."""
    place = existing_folder(root / images)
    source = existing_folder(root / annotations) if annotations is not None else place
    pictures = image_files(place)
    files = image_files(source, suffixes=(".json",))
    problems.notes += pictures.notes
    if not files.paths:
        others = sorted({path.suffix or path.name for path in files.others})
        found = f"; it holds {listed(others)} files" if others else ""
        remedy = "set annotations to the folder of the JSON files"
        raise DataError(Problem(source, f"no JSON files of LabelMe in {source.absolute()}{found}", remedy))
    known = {os.path.normpath(path): path for path in pictures.paths}
    keys = {same_name(path.relative_to(place).with_suffix("").as_posix()): path for path in pictures.paths}
    read: list[ImageOutlines] = []
    owners: dict[Path, Path] = {}
    for path in tracked(files.paths, "annotations", len(files.paths), "file"):
        with problems.about(len(read)):
            file = read_labelme_file(path, problems)
            key = same_name(path.relative_to(source).with_suffix("").as_posix())
            picture = _picture(path, file, known, keys.get(key), problems) if file is not None else keys.get(key)
            if picture in owners:
                message = f"is of image {picture.name}, as is {owners[picture].name}"
                problems.add("annotation files of one image", path, message, "remove one of the two")
        picture = picture or path.with_suffix(".jpg")
        owners[picture] = path
        size, outlines = (file.size, file.outlines) if file is not None else ((0, 0), ())
        read.append(ImageOutlines(name_in(root, picture), outlines, size, str(path)))
    bare = [path for path in pictures.paths if path not in owners]
    if bare:
        what = "are left out" if unlabelled == "leave_out" else "count as background"
        names = listed(path.relative_to(place).as_posix() for path in bare)
        problems.notes.append(f"{len(bare)} images of {place} have no JSON and {what} (unlabelled): {names}")
    if unlabelled == "background":
        read += [ImageOutlines(name_in(root, path)) for path in bare]
    note_shapeless(source, problems, "lines, points")
    return sorted(read), source


def _picture(
    path: Path, file: LabelmeFile, known: dict[str, Path], same: Path | None, problems: ProblemList
) -> Path | None:
    """The image of a file: the one it names, else the one of the same name."""
    named = os.path.normpath(path.parent / file.picture.replace("\\", "/")) if file.picture else ""
    found = known.get(named) or same
    if found is None:
        message = (
            f"has no image: neither '{file.picture}', which it names, nor '{path.stem}.jpg' (or .png ...) is there"
        )
        problems.add("missing image files", path, message, "set images to the folder of the images")
    return found
