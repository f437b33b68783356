"""Box data sets in COCO's format."""

from __future__ import annotations

import posixpath
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes, RawBoxes
from toolkit.data.formats.coco_file import CocoFile, read_coco_file
from toolkit.data.formats.detection_index import build_index
from toolkit.data.formats.image_listing import find_missing_images
from toolkit.errors import DataError, missing_path
from toolkit.samples import Sample

_ROBOFLOW = "_annotations.coco.json"


@DATASETS.register("coco")
class CocoDataset(Dataset):
    """Images and boxes of one COCO instances JSON; outlines are not read.

    Category ids need not be contiguous: they become labels by way of their names, once. `category_ids[label]` is the
    id for output files, and `Sample.image_id` the image's own. Images come in the order of the file. Sizes: as
    annotated, compared with each image when it is read.

    root: folder that the other paths are relative to. annotations: the JSON, or a folder with Roboflow's
    `_annotations.coco.json`. images: folder of the images; None is the folder of the JSON, as Roboflow has it.
    classes: names in label order, to be found in the file; None takes the file's categories by id. A category that
    only heads a group (Roboflow writes one: no boxes, supercategory "none", named as supercategory by others) is no class.
    keep_empty: images without boxes stay, as background. fix_boxes: what to do with boxes outside their image or
    without area. COCO's own train2017 has two boxes without area.
    Raises DataError with every problem of the file and every missing image.
    """

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str | None = None,
        classes: list[str] | None = None,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(missing_path("folder", self.root))
        path = self.root / annotations
        if path.is_dir():
            path = path / _ROBOFLOW
        self.path = path
        folder = path.parent if images is None else self.root / images
        problems = ProblemList()
        file = read_coco_file(path, problems)
        table = _table(file, classes)
        try:
            self.classes = match_names(list(table), classes, str(path))
        except DataError as error:
            problems.include(error)
            problems.stop_if_any(str(path))
            raise
        self.category_ids = tuple(table[name] for name in self.classes)

        prefix = _prefix(folder, self.root)
        names = [prefix + name.replace("\\", "/") for name in file.image_names]
        _refuse_outside(path, folder, file.image_names, problems)
        find_missing_images(self.root, names, str(path), problems)

        def box_name(box: int) -> str:
            return f"{path}: annotation {file.annotation_ids[box]} ({file.image_names[int(file.owners[box])]})"

        raw = _raw_boxes(file, self.category_ids)
        self.index = build_index(
            str(path), names, file.image_ids, file.sizes, raw, box_name, problems, keep_empty, fix_boxes
        )

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Sample:
        """Reads an image and its boxes."""
        return self.index.sample(index, self.root)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and the JSON."""
        return self.root / self.index.names[index], self.path

    def image_sizes(self) -> np.ndarray:
        """As annotated."""
        return self.index.sizes

    def describe(self) -> str:
        """Counts, mended boxes, and the table of category id, label, name and boxes."""
        return self.index.describe(self.classes, self.category_ids)


def _table(file: CocoFile, classes: list[str] | None) -> dict[str, int]:
    """Category ids by name, without those that only head a group."""
    used = set(file.category_ids.tolist())
    parents = {parent for _, name, parent in file.categories if parent != name}
    return {
        name: number
        for number, name, parent in file.categories
        if not (number not in used and parent == "none" and name in parents and name not in (classes or ()))
    }


def _refuse_outside(path: Path, folder: Path, names: list[str], problems: ProblemList) -> None:
    """A file_name may go down from the images' folder, not out of it: such a data set would read anything anywhere."""
    kind = "file names that lead out of the images' folder"
    for position, name in enumerate(names):
        parts = PurePosixPath(posixpath.normpath(name.replace("\\", "/")))
        if parts.is_absolute() or PureWindowsPath(name).drive or parts.parts[:1] == ("..",):
            message = f"file_name '{name}' leads out of the images' folder {folder.absolute()}"
            remedy = "set `images` to the folder that holds them all, and correct the names"
            with problems.about(position):
                problems.add(kind, str(path), message, remedy)


def _raw_boxes(file: CocoFile, category_ids: tuple[int, ...]) -> RawBoxes:
    ids = np.array(category_ids, np.int64)
    order = np.argsort(ids)
    places = np.minimum(np.searchsorted(ids[order], file.category_ids), max(len(ids) - 1, 0))
    labels = order[places] if len(ids) else file.category_ids
    xyxy = np.concatenate([file.xywh[:, :2], file.xywh[:, :2] + file.xywh[:, 2:]], axis=1)
    return RawBoxes(file.owners, xyxy, labels, file.crowd, np.zeros(len(labels), bool), file.area)


def _prefix(folder: Path, root: Path) -> str:
    """The images' folder relative to the root, with a slash at its end; absolute when it lies elsewhere."""
    relative = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.absolute().as_posix()
    return "" if relative == "." else f"{relative}/"
