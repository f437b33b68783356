"""Transforms by name, ours and albumentations', and the pipeline that runs them in a row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from toolkit.contracts import TRANSFORMS, Dataset, MixingTransform, Transform
from toolkit.data.seeds import mix
from toolkit.data.transforms import (  # noqa: F401 - they register our transforms
    appearance,
    augment,
    elastic,
    mirror_border,
    mixing,
    rare_class_crop,
    reframe,
    unet_weight_map,
    warp,
)
from toolkit.data.transforms.albumentation import operation_class, operation_names
from toolkit.errors import ConfigError, DataError, Problem, did_you_mean
from toolkit.samples import Sample


def transform_class(name: str) -> type[Transform]:
    """The class behind a name: one of ours, `module:Class`, or an albumentations operation by its exact class name.

    albumentations is imported only when the name is none of the first two. Every class has a typed constructor
    signature, so arguments can be checked before anything is built. Raises ConfigError with near names of both kinds.

    >>> transform_class("resize").__name__, transform_class("HorizontalFlip").operation
    ('Resize', 'HorizontalFlip')
    """
    if ":" in name or name in TRANSFORMS.names():
        return TRANSFORMS.find(name)
    cls = operation_class(name)
    if cls is None:
        suggestion = did_you_mean(name, [*TRANSFORMS.names(), *operation_names()])
        raise ConfigError(Problem("", f"no transform is called '{name}', here or in albumentations", suggestion))
    return cls


def transform_name(transform: Transform) -> str:
    """The name by which a config reaches a transform."""
    return getattr(type(transform), "operation", "") or TRANSFORMS.name_of(type(transform))


class Pipeline:
    """Transforms in a row; each gets a seed of its own, made from the sample's seed and its place in the row.

    One that mixes samples draws others from the data set, each after the transforms before it, by a number that follows
    from its own seed.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, sample: Sample, seed: int, others: Dataset | None = None) -> Sample:
        """The sample after all transforms; the input is left as it was.

        Args:
            sample: the sample as it was read.
            seed: that everything random follows from.
            others: the data set that mixing transforms draw from; None takes the sample itself in their place.
        """
        return self._until(len(self.transforms), sample, seed, others)

    @property
    def asks_for_halvings(self) -> bool:
        """Whether its first transform may want images that their decoder has halved."""
        return bool(self.transforms) and type(self.transforms[0]).halvings is not Transform.halvings

    def halvings(self, size: tuple[int, int], seed: int) -> int:
        """Times that a decoder may halve an image of (height, width) that comes with this seed; see `Transform.halvings`."""
        return self.transforms[0].halvings(size, mix(seed, 0)) if self.transforms else 0

    def _until(self, end: int, sample: Sample, seed: int, others: Dataset | None) -> Sample:
        for place, transform in enumerate(self.transforms[:end]):
            if others is not None and isinstance(transform, MixingTransform):
                sample = transform.mixed(sample, mix(seed, place), partial(self._drawn, place, others))
            else:
                sample = transform(sample, mix(seed, place))
            if 0 in sample.image.shape:
                shape = "x".join(map(str, sample.image.shape))
                raise DataError(Problem(sample.name, f"is an empty {shape} image after '{transform_name(transform)}'"))
        return sample

    def _drawn(self, place: int, others: Dataset, number: int) -> Sample:
        return self._until(place, others[number % len(others)], number, others)


def refuse_for_evaluation(transforms: Sequence[Transform], where: str = "") -> None:
    """Raises ConfigError naming every transform that evaluation cannot use: random ones, and those that move pixels."""
    problems = []
    for transform in transforms:
        name = transform_name(transform)
        if transform.random:
            problems.append(
                Problem(where, f"transform '{name}' is random; evaluation would differ from run to run", "leave it out")
            )
        elif transform.moves:
            message = (
                f"transform '{name}' crops, pads, flips or warps; predictions are scaled back to the whole picture"
            )
            problems.append(Problem(where, message, "leave it out; 'resize' and colour changes are allowed"))
    if problems:
        raise ConfigError(problems)
