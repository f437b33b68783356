"""Box data sets in Pascal VOC's format."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.contracts import DATASETS, Dataset
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes, RawBoxes
from toolkit.data.formats.detection_index import build_index
from toolkit.data.formats.voc_file import VocFile, read_voc_file
from toolkit.data.images.read import IMAGE_SUFFIXES
from toolkit.errors import DataError, Problem, missing_path, no_such
from toolkit.samples import Sample


@DATASETS.register("voc")
class VocDataset(Dataset):
    """Images with an XML file each, in one of three layouts, tried in this order.

    - root/ImageSets/Main/<split>.txt names the stems; root/Annotations and root/JPEGImages hold the files;
    - root/<split>/ holds images and XML files side by side (Roboflow);
    - split "": all XML files of root/Annotations with the images of root/JPEGImages (or root/images), or, without
      those folders, of root itself.

    VOC's corners are 1-based and inclusive: xmin 1, xmax 640 is the whole width and becomes 0..640. Sizes are
    compared with each image when it is read; `difficult` is kept as a flag.

    classes: names in label order; None takes root/classes.txt (one name a line), or the names found, sorted: then
    another split may have other classes, so give the list. one_based: False for files whose corners are 0-based and whose
    xmax, ymax lie just outside the box. keep_empty: images without objects stay, as background.
    fix_boxes: what to do with boxes outside their image or without area.
    Raises DataError with every problem of every file.
    """

    def __init__(
        self,
        root: str,
        split: str = "train",
        classes: list[str] | None = None,
        one_based: bool = True,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(missing_path("folder", self.root))
        layout = _layout(self.root, split)
        problems = ProblemList()
        pictures = _pictures(self.root, layout.images)
        names: list[str] = []
        files: list[VocFile] = []
        paths: list[Path] = []
        for stem in layout.stems:
            path = layout.annotations / f"{stem}.xml"
            with problems.about(len(names)):
                file = _annotation(path, problems)
                name = _picture(stem, file, pictures, path, layout, problems) if file is not None else None
            # What is wrong has a place too, to be named and left out.
            names.append(name or next(iter(pictures.get(stem, ())), _relative(path, self.root)))
            files.append(file or VocFile("", (0, 0), []))
            paths.append(path)
        where = str(layout.source)
        self.classes = _classes(self.root, files, paths, classes, where, problems)
        self.category_ids = tuple(range(1, len(self.classes) + 1))  # VOC has none; COCO's begin with 1

        owners = [owner for owner, file in enumerate(files) for _ in file.objects]
        objects = [one for file in files for one in file.objects]
        first = np.cumsum([0, *(len(file.objects) for file in files)])

        def box_name(box: int) -> str:
            place = box - int(first[owners[box]]) + 1
            return f"{paths[owners[box]]}: object {place} ({objects[box].name})"

        labels = {name: label for label, name in enumerate(self.classes)}
        xyxy = np.array([one.box for one in objects], np.float64).reshape(-1, 4)
        xyxy[:, :2] -= 1 if one_based else 0
        raw = RawBoxes.of(
            np.array(owners, np.int64),
            xyxy,
            np.array([labels[one.name] for one in objects], np.int64),
            np.array([one.difficult for one in objects], bool),
        )
        sizes = np.array([file.size for file in files], np.int64).reshape(-1, 2)
        self._annotations = layout.annotations
        named = zip(names, paths, strict=True)
        self._stems = {name: path.stem for name, path in named if path.stem != Path(name).stem}
        self.index = build_index(
            where, names, np.arange(len(names)), sizes, raw, box_name, problems, keep_empty, fix_boxes
        )

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Sample:
        """Reads an image and its boxes."""
        return self.index.sample(index, self.root)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image and its XML file."""
        name = self.index.names[index]
        return self.root / name, self._annotations / f"{self._stems.get(name, Path(name).stem)}.xml"

    def image_sizes(self) -> np.ndarray:
        """As annotated."""
        return self.index.sizes

    def describe(self) -> str:
        """Counts, mended boxes, and the table of label, name and boxes."""
        return self.index.describe(self.classes, self.category_ids)


class _Layout(NamedTuple):
    """source: what named the stems, for messages. annotations, images: folders. stems: file names without suffix."""

    source: Path
    annotations: Path
    images: Path
    stems: list[str]


def _layout(root: Path, split: str) -> _Layout:
    listing = root / "ImageSets" / "Main" / f"{split}.txt"
    if split and listing.is_file():
        # Class-wise lists have a second column (-1, 0, 1); the first is the stem in every list.
        stems = [line.split()[0] for line in listing.read_text("utf-8-sig").splitlines() if line.strip()]
        repeated = sorted({stem for stem in stems if stems.count(stem) > 1}) if len(set(stems)) < len(stems) else []
        if repeated:
            raise DataError(Problem(str(listing), f"names {', '.join(repeated[:10])} more than once"))
        images = root / "JPEGImages"
        return _Layout(listing, root / "Annotations", images if images.is_dir() else root / "images", stems)
    folder = root / split
    if not folder.is_dir() or (not split and not any(root.glob("*.xml")) and not (root / "Annotations").is_dir()):
        wanted = f"wanted {listing.absolute()} or a folder {folder.absolute()} with images and XML files"
        raise DataError(Problem("", f"no split '{split}': {wanted}", _other_splits(listing.parent)))
    if (folder / "Annotations").is_dir():
        images = folder / "JPEGImages"
        images = images if images.is_dir() else folder / "images"
        annotations = folder / "Annotations"
    else:
        images = annotations = folder
    stems = sorted(path.stem for path in annotations.glob("*.xml"))
    if annotations == images:  # a picture without XML would otherwise go unseen
        stems = sorted({*stems, *(path.stem for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)})
    return _Layout(annotations, annotations, images, stems)


def _other_splits(folder: Path) -> str:
    splits = sorted(path.stem for path in folder.glob("*.txt"))
    return f"there are: {', '.join(splits[:10])}" if splits else ""


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _pictures(root: Path, folder: Path) -> dict[str, list[str]]:
    """Paths of the images relative to the root, by stem."""
    if not folder.is_dir():
        raise DataError(missing_path("folder", folder))
    found: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.stem, []).append(path.relative_to(root).as_posix())
    return found


def _annotation(path: Path, problems: ProblemList) -> VocFile | None:
    if not path.is_file():
        problems.add(
            "images without an annotation file", "", no_such("file", path), "an XML without objects is background"
        )
        return None
    return read_voc_file(path, problems)


def _picture(
    stem: str, file: VocFile, pictures: dict[str, list[str]], path: Path, layout: _Layout, problems: ProblemList
) -> str | None:
    """The image of an XML file: of the same stem, else the one it names."""
    named = Path(file.filename.replace("\\", "/"))
    found = pictures.get(stem) or [name for name in pictures.get(named.stem, ()) if Path(name).name == named.name]
    if len(found) > 1:
        found = [name for name in found if Path(name).name == named.name] or found
    if len(found) == 1:
        return found[0]
    if found:
        problems.add("ambiguous images", str(path), f"has several images: {', '.join(found)}")
    else:
        message = f"has no image '{stem}.jpg' (or .png ...) in {layout.images.absolute()}"
        problems.add("missing image files", str(path), message)
    return None


def _classes(
    root: Path, files: list[VocFile], paths: list[Path], wanted: list[str] | None, where: str, problems: ProblemList
) -> tuple[str, ...]:
    places: dict[str, list[Path]] = defaultdict(list)
    for file, path in zip(files, paths, strict=True):
        for one in file.objects:
            places[one.name].append(path)
    table = root / "classes.txt"
    if table.is_file():
        names = [line.strip() for line in table.read_text("utf-8-sig").splitlines() if line.strip()]
        wanted = list(match_names(names, wanted, str(table)))
    try:
        words = {name: _where_it_stands(owners) for name, owners in places.items()}
        return match_names(sorted(places), wanted, where, complete=False, places=words)
    except DataError as error:
        problems.include(error)
        problems.stop(where)


def _where_it_stands(owners: list[Path]) -> str:
    """owners: the file of each object."""
    files = list(dict.fromkeys(owners))
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{len(owners)} object{'s' * (len(owners) != 1)} in {files[0]}{more}"
