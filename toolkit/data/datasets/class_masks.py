"""Images with a binary mask file for each class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from toolkit.bounds import NonNegativeInt
from toolkit.contracts import DATASETS, Dataset
from toolkit.data.faults.leaving_out import FileError
from toolkit.data.formats.pairs import existing_folder, name_in
from toolkit.data.images.label_maps import read_label_map
from toolkit.data.images.listing import by_key, image_files, same_name
from toolkit.data.images.read import read_image
from toolkit.data.images.traits import unread_pages
from toolkit.errors import ConfigError, DataError, Problem, did_you_mean, listed
from toolkit.labels import IGNORE_INDEX, default_palette
from toolkit.samples import Sample


class _Item(NamedTuple):
    """An image and its masks, each with the label of its class."""

    image: Path
    masks: tuple[tuple[int, Path], ...]


@DATASETS.register("class_masks")
class ClassMasks(Dataset):
    """Images and a binary mask a class, told apart by their names: what brush tools export.

    Masks are laid over one another in the order of the classes, a later class over an earlier one; several files of one
    image and class (Label Studio's strokes) are one region.

        ROOT/images/a.jpg   ROOT/masks/disc/a.png   ROOT/masks/bar/a.png      (masks: "masks/{class}/{name}.png")
        ROOT/images/a.jpg   ROOT/masks/a_disc.png   ROOT/masks/a_bar.png      (masks: "masks/{name}_{class}.png")
        ROOT/images/7.jpg   ROOT/png/task-7-annotation-3-by-1-tag-disc-0.png
            (masks: "png/task-{name}-annotation-*-tag-{class}-*.png", Label Studio's brush export)

    Args:
        root: the data set's folder, which the other paths are relative to.
        masks: path of the masks with `{name}` for the image's name (its path in `images` without extension), `{class}`
            for the class and `*` for anything else that has no `/`.
        images: folder of the images, searched with all below it.
        classes: names in label order; None: the background, then the classes found, sorted: another split may have
            others, so give the list.
        background: class of the pixels of no mask; "ignore": they do not count.
        above: a pixel belongs to a class where its mask stores more than this, 0 to 65534; 127 for soft masks.
        unlabelled: what images without any mask are: not annotated yet ("leave_out"), or "background".

    Raises:
        DataError: for masks of no image or no class, and when nothing is found.
    """

    def __init__(
        self,
        root: str,
        masks: str,
        images: str = "images",
        classes: list[str] | None = None,
        background: str = "background",
        above: NonNegativeInt = 0,
        unlabelled: Literal["leave_out", "background"] = "leave_out",
    ) -> None:
        self.root, self.above, self.background = existing_folder(root), above, background
        place = existing_folder(self.root / images)
        listing = image_files(place)
        found = _find(self.root, masks, by_key(listing, place), classes, background)
        names = sorted({name for _, name, _ in found})
        rest = () if background == "ignore" else (background,)
        self.classes = tuple(classes) if classes is not None else (*rest, *names)
        if background != "ignore" and background not in self.classes:
            message = (
                f"the pixels of no mask are '{background}', which is none of the classes: {listed(self.classes, 20)}"
            )
            raise DataError(Problem(self.root, message, "add it to the classes, or set background: ignore"))
        self.absent_classes = tuple(name for name in self.classes if name not in (*names, background))
        self.palette = default_palette(len(self.classes))
        owned: dict[Path, list[tuple[int, Path]]] = {}
        for path, name, image in found:
            owned.setdefault(image, []).append((self.classes.index(name), path))
        bare = [path for path in listing.paths if path not in owned]
        kept = listing.paths if unlabelled == "background" else [path for path in listing.paths if path in owned]
        self.items = tuple(_Item(path, tuple(sorted(owned.get(path, ())))) for path in kept)
        notes = list(listing.notes)
        if bare:
            what = "are left out" if unlabelled == "leave_out" else "count as background"
            shown = listed(path.relative_to(place).as_posix() for path in bare)
            notes.append(f"{len(bare)} images of {place} have no mask and {what} (unlabelled): {shown}")
        self.notes = (*notes, *unread_pages(path for item in self.items for path in self._files(item)))

    looks_at_no_pixel = True

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        """Reads an image and its masks. Raises DataError when one cannot be used, or their sizes differ."""
        if not 0 <= index < len(self.items):
            raise IndexError(index)
        path, masks = self.items[index]
        image = read_image(path, self.channels, self.value_range)
        size = (image.shape[0], image.shape[1])
        rest = IGNORE_INDEX if self.background == "ignore" else self.classes.index(self.background)
        labels = np.full(size, rest, np.uint8)
        for label, file in masks:
            stored = read_label_map(file)
            if stored.shape != size:
                message = f"the mask is {stored.shape} (height, width), its image {path} is {size}"
                raise FileError("mask_size", Problem(file, message, "wrong pair, or one of them was resized"))
            labels[stored > self.above] = label
        return Sample(image, name_in(self.root, path), index, size, label_map=labels)

    def files(self, index: int) -> tuple[Path, ...]:
        """The image, then its masks in the order in which they are laid over one another."""
        return self._files(self.items[index])

    @staticmethod
    def _files(item: _Item) -> tuple[Path, ...]:
        return (item.image, *(path for _, path in item.masks))

    def describe(self) -> str:
        """The number of images and masks, and in which order classes cover one another."""
        number = sum(len(item.masks) for item in self.items)
        order = " < ".join(self.classes)
        return f"{len(self)} images with {number} binary masks in {self.root}; laid over one another: {order}"


def _find(
    root: Path, pattern: str, pictures: dict[str, Path], classes: list[str] | None, background: str
) -> list[tuple[Path, str, Path]]:
    """(mask, class, image) of every file of the pattern."""
    if pattern.count("{name}") != 1 or pattern.count("{class}") != 1:
        message = f"wanted a path with {{name}} and {{class}}, once each, found '{pattern}'"
        raise ConfigError(Problem("masks", message, "such as masks/{class}/{name}.png"))
    base = existing_folder(root / pattern[: re.search(r"[{*]", pattern).start()].rpartition("/")[0])  # type: ignore[union-attr]
    files = [path for path in image_files(base).paths if path not in set(pictures.values())]
    known = None if classes is None else [name for name in classes if name != background]
    found, fits_not, unknown, no_image = [], [], dict[str, Path](), []
    for path in files:
        text = same_name(path.relative_to(root).as_posix())
        readings = list(_readings(pattern, text))
        right = [one for one in readings if one[0] in pictures and (known is None or one[1] in known)]
        if right:
            found.append((path, right[0][1], pictures[right[0][0]]))
        elif not readings:
            fits_not.append(text)
        elif any(name in pictures for name, _ in readings):
            unknown.setdefault(next(label for name, label in readings if name in pictures), path)
        else:
            no_image.append(text)
    problems = [
        Problem(
            path, f"is of class '{name}', which is none of {listed(known or (), 20)}", did_you_mean(name, known or ())
        )
        for name, path in unknown.items()
    ]
    if no_image:
        message = f"{len(no_image)} masks have no image: {listed(no_image)}"
        remedy = "{name} stands for an image's path in `images` without extension" + f"; such as {listed(pictures, 2)}"
        problems.append(Problem(base, message, remedy))
    if fits_not and not found:
        problems.append(Problem(base, f"no file is called like '{pattern}'; there are {listed(fits_not, 3)}"))
    if not found and not problems:
        problems.append(Problem(base, f"holds no masks called like '{pattern}'"))
    if problems:
        raise DataError(problems)
    return found


def _readings(pattern: str, text: str) -> Iterator[tuple[str, str]]:
    """(name, class) of a path, in all ways in which it can be parted.

    >>> list(_readings("{name}_{class}.png", "a_b_c.png"))
    [('a', 'b_c'), ('a_b', 'c')]
    """
    signs: Sequence[str] = re.split(r"(\{name\}|\{class\}|\*)", pattern)
    for length in range(1, len(text)):
        words = {"{name}": f"(?P<name>.{{{length}}})", "{class}": "(?P<label>[^/]+?)", "*": "[^/]*?"}
        found = re.fullmatch("".join(words.get(sign, re.escape(sign)) for sign in signs), text)
        if found is not None:
            yield found["name"], found["label"]
