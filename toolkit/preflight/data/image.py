"""Images that can be read, but are unlike the others or are changed by reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from toolkit.errors import Problem, listed
from toolkit.preflight.data.record import SplitRecords, count
from toolkit.preflight.findings import Finding, Report

_FACTOR = 16.0
"""An image with so many times fewer or more pixels than the median image is told: a quarter or four times each side."""

_FEW = 8
"""Among fewer images than this, "the others" means nothing."""

_USUAL = 0.9
"""When so large a part of the images has one size, the others are told."""


class _Trait(NamedTuple):
    """What is said of a trait. message follows the number of images."""

    kind: str
    message: str
    suggestion: str


_TRAITS = {
    "alpha": _Trait(
        "alpha",
        "with an alpha channel, which is dropped, not blended",
        "what it hid is seen now: flatten them if not meant",
    ),
    "palette": _Trait(
        "palette", "with a palette, read as the colours it names", "save them as RGB if that is not meant"
    ),
    "cmyk": _Trait(
        "cmyk", "in CMYK, converted to RGB without a colour profile", "convert them yourself if colours matter"
    ),
    "frames": _Trait("frames", "with several frames or pages, of which the first is read", "save each as its own file"),
    "damage": _Trait(
        "decoder_complaint",
        "about which the JPEG decoder complains, which can be harmless padding or damage",
        "look at them, or fetch them again",
    ),
}

_TURNS = {
    2: "mirrored", 3: "turned by 180 degrees", 4: "turned by 180 degrees and mirrored", 5: "turned by 90 degrees and mirrored",
    6: "turned by 90 degrees", 7: "turned by 270 degrees and mirrored", 8: "turned by 270 degrees",
}  # fmt: skip


def note_images(report: Report, split: SplitRecords) -> None:
    """Adds warnings for a split's images: extensions, orientation, channels, sizes."""
    for name, trait in _TRAITS.items():
        found = [i for i, record in enumerate(split.records) if _has(record.traits, name)]
        if found:
            _warn(report, split, trait.kind, f"{count(len(found), 'image')} {trait.message}", trait.suggestion, found)
    _suffixes(report, split)
    _orientations(report, split)
    _gray(report, split)
    _sizes(report, split)


def _has(traits: Sequence[str], name: str) -> bool:
    return any(trait.partition(":")[0] == name for trait in traits)


def _warn(report: Report, split: SplitRecords, kind: str, message: str, suggestion: str, found: Sequence[int]) -> None:
    files = tuple(split.image(index) for index in found)
    message = f"{message}: {listed(split.short(file) for file in files)}"
    report.add(Finding(kind, Problem(split.where, message, suggestion), "warning", len(files), files))


def _suffixes(report: Report, split: SplitRecords) -> None:
    wrong: dict[str, str] = {}
    for index, record in enumerate(split.records):
        files = split.dataset.files(index)
        for file, traits in zip(files, (record.traits, record.annotation_traits), strict=False):
            for trait in traits:
                if trait.startswith("suffix:"):
                    wrong[str(file.absolute())] = trait.partition(":")[2]
    if wrong:
        told = listed(f"{split.short(file)} is a {true}" for file, true in wrong.items())
        message = f"{count(len(wrong), 'file')} with an extension of another format: {told}"
        suggestion = "they are read by what they hold; rename them for the tools that go by the name"
        problem = Problem(split.where, message, suggestion)
        report.add(Finding("wrong_extension", problem, "warning", len(wrong), tuple(wrong)))


def _orientations(report: Report, split: SplitRecords) -> None:
    turned = {
        index: int(trait.partition(":")[2])
        for index, record in enumerate(split.records)
        for trait in record.traits
        if trait.startswith("exif:")
    }
    if not turned:
        return
    how = ", ".join(f"{number} {_TURNS[turn]}" for turn, number in Counter(turned.values()).most_common())
    message = f"{count(len(turned), 'image')} that an EXIF tag turns or mirrors when read ({how})"
    suggestion = "their labels must have been drawn on the turned picture: look at one, or save them without the tag"
    _warn(report, split, "exif_orientation", message, suggestion, list(turned))


def _gray(report: Report, split: SplitRecords) -> None:
    """Gray among colour images read with three channels, or colour among gray ones read with one."""
    read = [index for index, record in enumerate(split.records) if record.channels in (1, 3)]
    gray = [i for i in read if _has(split.records[i].traits, "gray") or _has(split.records[i].traits, "colorless")]
    if not 0 < len(gray) < len(read):
        return
    if split.records[read[0]].channels == 3:
        message = f"{len(gray)} of {len(read)} images are gray, read as three equal channels"
        _warn(report, split, "gray_image", message, "make sure that they belong here; reading copes", gray)
    else:
        color = sorted(set(read) - set(gray))
        message = f"{len(color)} of {len(read)} images are in colour, read as gray"
        _warn(report, split, "color_image", message, "make sure that they belong here; reading copes", color)


def _sizes(report: Report, split: SplitRecords) -> None:
    sizes = np.array([record.size for record in split.records], np.int64).reshape(-1, 2)
    known = np.flatnonzero(sizes.all(axis=1))
    if len(known) < _FEW:
        return
    common, number = Counter(map(tuple, sizes[known].tolist())).most_common(1)[0]
    if number >= _USUAL * len(known):
        odd = [i for i in known.tolist() if tuple(sizes[i]) not in (common, common[::-1])]
        if odd:
            shown = ", ".join(sorted({f"{h}x{w}" for h, w in sizes[odd].tolist()})[:5])
            message = f"{count(len(odd), 'image')} of another size ({shown}) than the others' {common[0]}x{common[1]}"
            _warn(report, split, "odd_size", message, "make sure that they belong to this data set", odd)
        return
    areas = sizes[known].prod(axis=1)
    ratio = areas / np.median(areas)
    for kind, which, word in (
        ("small_image", ratio <= 1 / _FACTOR, "smaller"),
        ("large_image", ratio >= _FACTOR, "larger"),
    ):
        odd = known[which].tolist()
        if odd:
            message = f"{count(len(odd), 'image')} much {word} than the median image (by {_FACTOR:g} in area, or more)"
            _warn(report, split, kind, message, "make sure that they are no thumbnails or scans gone wrong", odd)
