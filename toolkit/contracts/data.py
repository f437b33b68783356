"""Where samples come from, and what changes them before they are batched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from toolkit.errors import PartsError, Problem
from toolkit.registry import Registry
from toolkit.samples import Boxes, Sample


class Skip(NamedTuple):
    """A sample that is left out of a data set. name: of its image, relative to the root. reason: what is wrong with it."""

    name: str
    reason: str


class Dataset(ABC):
    """Samples on disk, in a fixed order. Random access, safe in several processes; nothing is written.

    A subclass reads file lists and annotation files in its constructor, no images, and raises DataError with every
    problem it can see. It sets there

    - classes: names of labels 0..K-1, and palette: an (r, g, b) a class, or ();
    - root: the folder that names of samples are relative to, where nothing is ever written;
    - channels: of its images, 3 (RGB), 1 (gray) or another number of bands;
    - category_ids: the numbers its files use for the labels 0..K-1, for results in the same format; () for none.

    What others need to know of a data set they ask by these and the methods below, never by its class: `PairedDataset`
    (an image and a mask file each) and `BoxDataset` (images with boxes) answer them for most formats.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    root: Path = Path()
    channels: int = 3
    value_range: Sequence[float] | Sequence[Sequence[float]] | None = None
    """The stored numbers that become 0 and 255, of all bands or a pair for each (`data.value_range`); None: bytes."""
    category_ids: tuple[int, ...] = ()
    skips: tuple[Skip, ...] = ()
    """Samples that are left out of it, because something is wrong with them (`data.on_bad: skip`)."""
    notes: tuple[str, ...] = ()
    """Sentences about what was read otherwise than it stands, or not read at all; told by `check` and `train`."""
    repeats: np.ndarray | None = None
    """(N,) times an epoch that each sample is drawn in training, at least 1; None: once."""
    annotated: bool = True
    """False for images whose files hold no annotations at all (COCO's image_info): they cannot be measured."""
    own_classes: tuple[str, ...] = ()
    """Names that its files know, where `classes` were chosen from them; () where they are `classes`."""
    absent_classes: tuple[str, ...] = ()
    """Classes that were asked for and that its files do not know; an error where no split's files do."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Reads one sample. Raises DataError naming the file that is missing, unreadable or wrong.

        Raises IndexError from `len(self)` on, so that iteration ends.
        """

    def describe(self) -> str:
        """What was found, in a line or a small table, for the person who starts a training."""
        return f"{len(self)} samples in {self.root}, {len(self.classes)} classes"

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The samples at some indices, in that order; `Sample.position` counts them anew, all else stays as it is."""
        return Subset(self, indices)

    def image_sizes(self) -> np.ndarray | None:
        """(N, 2) height and width of each image, 0 where unknown; None when nothing is known without opening them."""
        return None

    def boxes_of(self, index: int) -> Boxes | None:
        """The boxes of a sample, without its image where the annotation alone tells them. Default: reads the sample."""
        return self[index].boxes

    def files(self, index: int) -> tuple[Path, ...]:
        """The files a sample is read from, its image first, then its annotation; () when the data set does not say.

        By them a check names faults, finds an image in two splits and remembers what it has read already.
        """
        return ()

    def image_files(self) -> list[str]:
        """The image file of every sample as text; [] when the data set does not say all. Override it to be quicker."""
        found = [self.files(index)[:1] for index in range(len(self))]
        return [str(files[0]) for files in found] if all(found) else []

    def annotation_of(self, index: int) -> bytes:
        """What the annotation says of a sample, as bytes that change with it, where several samples share a file; else b""."""
        return b""

    def hands_images_on(self) -> bool:
        """Whether images of its samples are those that `read_image` gives, and nothing is computed from their pixels.

        Then a loader may decode them later, and smaller. A class says so by `looks_at_no_pixel = True` beside its own
        `__getitem__`; for a subclass with another `__getitem__` it does not hold until that class says it too.
        """
        owner = next(cls for cls in type(self).__mro__ if "__getitem__" in vars(cls))
        return bool(vars(owner).get("looks_at_no_pixel", False))

    def set_reading(
        self, channels: int | None, value_range: Sequence[float] | Sequence[Sequence[float]] | None
    ) -> None:
        """Says how all its images are read: with so many channels (None: as it is), and from which range of numbers."""
        self.channels = channels or self.channels
        self.value_range = value_range

    def with_classes(self, names: Sequence[str], labels: np.ndarray) -> Dataset | None:
        """The same samples with other classes; None: there is no way but to change each sample that is read.

        names: of the new labels 0..K-1. labels: (number of its classes,) int64: the new label of each of its own;
        `IGNORE_INDEX`: its pixels and boxes do not count; `LEFT_OUT`: its boxes are none.
        """
        return None


LEFT_OUT = -1
"""What `Dataset.with_classes` is told of a class whose boxes are none: background. Pixels have no such thing."""


class Subset(Dataset):
    """Some samples of any data set: what `Dataset.subset` gives where a data set has no better way.

    Args:
        whole: the data set that is asked for each sample when it is wanted.
        indices: positions in it, in the order in which they are to come.
    """

    def __init__(self, whole: Dataset, indices: Sequence[int]) -> None:
        self.whole = whole
        self.indices = np.asarray(indices, np.int64).reshape(-1)
        self.classes, self.palette = tuple(whole.classes), tuple(whole.palette)
        self.root, self.channels, self.value_range = whole.root, whole.channels, whole.value_range
        self.category_ids, self.absent_classes = whole.category_ids, whole.absent_classes
        self.own_classes = whole.own_classes
        self.skips, self.notes, self.annotated = whole.skips, whole.notes, whole.annotated
        self.repeats = None if whole.repeats is None else whole.repeats[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.indices):
            raise IndexError(index)
        return self.whole[int(self.indices[index])]._replace(position=index)

    def set_reading(
        self, channels: int | None, value_range: Sequence[float] | Sequence[Sequence[float]] | None
    ) -> None:
        """Says it of the whole data set."""
        self.whole.set_reading(channels, value_range)
        super().set_reading(channels, value_range)

    def describe(self) -> str:
        """The whole data set's words, and how many of its samples these are."""
        return f"{self.whole.describe()}\n{len(self)} of its {len(self.whole)} samples"

    def image_sizes(self) -> np.ndarray | None:
        """Those of the samples that are here."""
        sizes = self.whole.image_sizes()
        return None if sizes is None else sizes[self.indices]

    def files(self, index: int) -> tuple[Path, ...]:
        """Those of the sample in the whole data set."""
        return self.whole.files(int(self.indices[index]))

    def image_files(self) -> list[str]:
        """Those of the samples that are here."""
        whole = self.whole.image_files()
        return [whole[index] for index in self.indices.tolist()] if whole else []

    def annotation_of(self, index: int) -> bytes:
        """What the whole data set says of the sample's annotation."""
        return self.whole.annotation_of(int(self.indices[index]))

    def hands_images_on(self) -> bool:
        """Whether the whole data set does."""
        return self.whole.hands_images_on()


class Transform(ABC):
    """(Sample, seed) -> Sample. Randomness is a pure function of the seed, so workers and resume change nothing."""

    random: bool = False
    """Whether the result depends on the seed. Evaluation refuses random transforms."""
    moves: bool = False
    """Whether pixels change place otherwise than by scaling the whole image (crops, flips, padding). Evaluation refuses
    it, because predictions are scaled back to the original picture."""
    geometric: bool = True
    """Whether it may change the size or place of anything. A check of sizes leaves out what only changes colours."""

    @abstractmethod
    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The changed sample; image, label map and boxes together. The input is left as it was."""

    def exported(self, images: Tensor) -> Tensor:
        """The same for (N, C, H, W) uint8 pictures in plain operators, for programs of other engines.

        Sizes may be symbols. Raises PartsError for a transform that has no such form (the default).
        """
        advice = "leave it out of data.val.transforms, or export with --raw and do it before"
        name = TRANSFORMS.name_of(type(self))
        raise PartsError(Problem("data.val.transforms", f"'{name}' cannot be part of an exported program", advice))

    def halvings(self, size: tuple[int, int], seed: int) -> int:
        """Times (0 to 3) that a decoder may halve an image of `size` (height, width) that this seed shrinks as much anyway.

        Only the first transform is asked; the sample that it then gets says by `Sample.halvings` what was done.
        """
        return 0


Draw = Callable[[int], Sample]
"""Another sample of the data set for a number, as the transforms before this one leave it; the same for the same number."""


class MixingTransform(Transform):
    """A transform that makes one sample of several. Called without others, it takes the sample itself in their place."""

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        return self.mixed(sample, seed, lambda number: sample)

    @abstractmethod
    def mixed(self, sample: Sample, seed: int, draw: Draw) -> Sample:
        """The changed sample.

        Args:
            sample: the sample itself, which is left as it was.
            seed: that everything random follows from, the numbers for `draw` too.
            draw: gives another sample for a number.
        """


DATASETS: Registry[Dataset] = Registry("dataset", Dataset, injected=("classes",), settable=("classes",))
TRANSFORMS: Registry[Transform] = Registry("transform", Transform, injected=("class_names",))
