"""Box data sets in Pascal VOC's format."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.contracts import DATASETS
from toolkit.data.classes.matching import match_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.box_checks import FixBoxes
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.formats.detection_index import ImageBoxes, index_boxes
from toolkit.data.formats.name_lists import match_lines, read_lines
from toolkit.data.formats.pairs import existing_folder, name_in
from toolkit.data.formats.voc_file import VocFile, read_voc_file
from toolkit.data.images.listing import image_files, same_name, without_extension
from toolkit.errors import DataError, Place, Problem, listed, missing_path, no_such
from toolkit.progress import tracked


@DATASETS.register("voc")
class VocDataset(BoxDataset):
    """Images with an XML file each, in folders that are named, or in one of three layouts, tried in this order:

        ROOT/ImageSets/Main/train.txt (names, one a line)   ROOT/Annotations/a.xml   ROOT/JPEGImages/a.jpg
        ROOT/train/a.xml   ROOT/train/a.jpg                 (side by side, Roboflow)
        ROOT/Annotations/*.xml   ROOT/JPEGImages/*.jpg      (split: "", everything; also images/, or all in ROOT)

    VOC's corners are 1-based and inclusive: xmin 1, xmax 640 is the whole width and becomes 0..640. Sizes are
    compared with each image when it is read; `difficult` is kept as a flag.

    Args:
        root: the data set's folder, in one of the three layouts above.
        split: a list in ImageSets/Main, or a folder, that is read; "" reads everything.
        classes: names in label order; None takes root/classes.txt (one name a line), or the names found, sorted: then
            another split may have other classes, so give the list.
        annotations: folder of the XML files, relative to root, where it has another name; `split` is then a list in
            ImageSets/Main, or "".
        images: folder of the images, relative to root, beside `annotations`; "." is the root itself.
        one_based: false for files whose corners are 0-based and whose xmax, ymax lie just outside the box.
        keep_empty: whether images without objects stay, as background.
        fix_boxes: what to do with boxes outside their image or without area.

    Raises:
        DataError: with every problem of every file.
    """

    def __init__(
        self,
        root: str,
        split: str = "train",
        classes: list[str] | None = None,
        one_based: bool = True,
        keep_empty: bool = True,
        fix_boxes: FixBoxes = "stop",
        annotations: str | None = None,
        images: str | None = None,
    ) -> None:
        folder = existing_folder(root)
        layout = _layout(folder, split) if annotations is None else _named(folder, split, annotations, images or ".")
        problems = ProblemList()
        found = _read(folder, layout, problems)
        source = layout.source
        names = _classes(folder, found, classes, source, problems)
        labels = {name: label for label, name in enumerate(names)}
        boxes = [_boxes_of(image, file, path, labels, one_based) for image, file, path in found]
        index = index_boxes(boxes, source, problems, keep_empty, fix_boxes)
        super().__init__(names, folder, index, range(1, len(names) + 1))  # VOC has no ids; COCO's begin with 1


def _read(root: Path, layout: _Layout, problems: ProblemList) -> list[tuple[str, VocFile, Path]]:
    """The image's name, the contents and the path of every XML file; what is wrong has a place too, to be left out."""
    problems.notes += layout.notes
    found = []
    for position, stem in enumerate(tracked(layout.stems, "annotations", len(layout.stems), "file")):
        path = layout.annotations / f"{stem}.xml"
        with problems.about(position):
            file = _annotation(path, problems)
            picture = _picture(stem, file, path, layout, problems) if file is not None else None
        picture = picture or next(iter(layout.pictures.get(stem, ())), path)
        found.append((name_in(root, picture), file or VocFile("", (0, 0), []), path))
    hollow = [path for _, file, path in found if file == VocFile("", (0, 0), [])]
    if hollow and not problems.number:
        more = f" and {len(hollow) - 1} more" if len(hollow) > 1 else ""
        problems.notes.append(f"{hollow[0]}{more}: an <annotation> that holds nothing counts as background")
    return found


def _boxes_of(name: str, file: VocFile, path: Path, labels: dict[str, int], one_based: bool) -> ImageBoxes:
    xyxy = np.array([one.box for one in file.objects], np.float64).reshape(-1, 4)
    xyxy[:, :2] -= 1 if one_based else 0
    return ImageBoxes(
        name,
        xyxy.tolist(),
        [labels[one.name] for one in file.objects],
        file.size,
        [one.difficult for one in file.objects],
        str(path),
        [Place(str(path), item=f"object {number} ({one.name})") for number, one in enumerate(file.objects, 1)],
    )


class _Layout(NamedTuple):
    """source: what named the stems, for messages. annotations, images: folders.

    pictures: images by their path in their folder without extension. stems: such paths of the XML files that are read.
    notes: what is left out, or was read by another convention.
    """

    source: Path
    annotations: Path
    images: Path
    pictures: dict[str, list[Path]]
    stems: list[str]
    notes: list[str]


def _layout(root: Path, split: str) -> _Layout:
    listing = root / "ImageSets" / "Main" / f"{split}.txt"
    if split and listing.is_file():
        images = root / "JPEGImages"
        return _listed(listing, root / "Annotations", images if images.is_dir() else root / "images")
    folder = root / split
    if not folder.is_dir() or (not split and not any(root.glob("*.xml")) and not (root / "Annotations").is_dir()):
        wanted = f"wanted {listing.absolute()} or a folder {folder.absolute()} with images and XML files"
        raise DataError(Problem("", f"no split '{split}': {wanted}", _other_splits(listing.parent)))
    if not (folder / "Annotations").is_dir():
        return _found(folder, folder)
    images = folder / "JPEGImages"
    return _found(folder / "Annotations", images if images.is_dir() else folder / "images")


def _named(root: Path, split: str, annotations: str, images: str) -> _Layout:
    """The layout of two folders that the config names."""
    folder, pictures = existing_folder(root / annotations), existing_folder(root / images)
    if not split:
        return _found(folder, pictures)
    return _listed(root / "ImageSets" / "Main" / f"{split}.txt", folder, pictures)


def _listed(listing: Path, annotations: Path, images: Path) -> _Layout:
    """The layout in which a list names the images; class-wise lists have a second column (-1, 0, 1)."""
    pictures, notes = _pictures(images)

    def find(name: str) -> str | None:
        bare = without_extension(name.removesuffix(".xml"))
        known = (stem for stem in (name, bare) if stem in pictures or (annotations / f"{stem}.xml").is_file())
        return next(known, None)

    matched = match_lines(listing, read_lines(listing), find, images.name)
    # What names neither an image nor an XML file has a place too, to be named and left out.
    stems = [entry.found for entry in matched.entries] + matched.unknown
    repeated = sorted(stem for stem, count in Counter(stems).items() if count > 1)
    if repeated:
        raise DataError(Problem(listing, f"names {', '.join(repeated[:10])} more than once"))
    class_wise = all(entry.rest in ("", "-1", "0", "1") for entry in matched.entries)
    said = [note for note in matched.notes if not (class_wise and "columns" in note)]
    return _Layout(listing, annotations, images, pictures, stems, [*notes, *said])


def _found(annotations: Path, images: Path) -> _Layout:
    """The layout without a list: every XML file below a folder."""
    pictures, notes = _pictures(images)
    files = image_files(annotations, suffixes=(".xml",))
    stems = sorted(same_name(path.relative_to(annotations).with_suffix("").as_posix()) for path in files.paths)
    if annotations == images:  # a picture without XML would otherwise go unseen
        stems = sorted({*stems, *pictures})
    return _Layout(annotations, annotations, images, pictures, stems, [*notes, *files.notes])


def _other_splits(folder: Path) -> str:
    splits = sorted(path.stem for path in folder.glob("*.txt"))
    return f"there are: {listed(splits, 10)}" if splits else ""


def _pictures(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The images below a folder, by path without extension; and what is left out of it."""
    if not folder.is_dir():
        raise DataError(missing_path("folder", folder))
    listing = image_files(folder)
    found: dict[str, list[Path]] = {}
    for path in listing.paths:
        found.setdefault(same_name(path.relative_to(folder).with_suffix("").as_posix()), []).append(path)
    return found, listing.notes


def _annotation(path: Path, problems: ProblemList) -> VocFile | None:
    if not path.is_file():
        problems.add(
            "images without an annotation file", "", no_such("file", path), "an XML without objects is background"
        )
        return None
    return read_voc_file(path, problems)


def _picture(stem: str, file: VocFile, path: Path, layout: _Layout, problems: ProblemList) -> Path | None:
    """The image of an XML file: of the same name, else the one it names."""
    named = Path(same_name(file.filename.replace("\\", "/")))
    keys = (Path(stem).with_name(named.stem), Path(named.stem), named.with_suffix("")) if named.name else ()
    others = [one for key in keys for one in layout.pictures.get(key.as_posix(), ()) if one.name == named.name]
    found = layout.pictures.get(stem) or list(dict.fromkeys(others))
    if len(found) > 1:
        found = [one for one in found if one.name == named.name] or found
    if len(found) == 1:
        return found[0]
    if found:
        problems.add("ambiguous images", path, f"has several images: {', '.join(one.name for one in found)}")
    else:
        message = f"has no image '{stem}.jpg' (or .png ...) in {layout.images.absolute()}"
        problems.add("missing image files", path, message)
    return None


def _classes(
    root: Path,
    found: list[tuple[str, VocFile, Path]],
    wanted: list[str] | None,
    where: Path,
    problems: ProblemList,
) -> tuple[str, ...]:
    places: dict[str, list[Path]] = defaultdict(list)
    for _, file, path in found:
        for one in file.objects:
            places[one.name].append(path)
    table = root / "classes.txt"
    if table.is_file():
        names = [line.strip() for line in table.read_text("utf-8-sig").splitlines() if line.strip()]
        wanted = list(match_names(names, wanted, table))
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
