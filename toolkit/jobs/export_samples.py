"""Pictures that an export is proved on: a folder's, or those of the run's own data, with their annotations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from toolkit.contracts import Dataset
from toolkit.data.images.pictures import find_pictures
from toolkit.engine.process import make_fabric
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.jobs.evaluate import measured_split
from toolkit.jobs.restore import Restored
from toolkit.samples import Truth


class Samples(NamedTuple):
    """What an export is proved on.

    Args:
        pictures: their files, one or more of them.
        truths: annotations by the path of a picture; {} where there are none.
        said: where they are from, in words.
    """

    pictures: list[Path]
    truths: dict[str, Truth]
    said: str


def samples_of(restored: Restored, folder: str | Path | None, count: int, overrides: Sequence[str] = ()) -> Samples:
    """Pictures of a folder, or of the run's val, then train. Raises ConfigError when there are none.

    Args:
        restored: the model, with the config that names its data.
        folder: a folder, file or glob of pictures; None takes the run's own.
        count: how many at most, evenly from all.
        overrides: what was changed of the config, for the message.
    """
    if folder is not None:
        found = [picture.path for picture in find_pictures(str(folder)) if picture.path is not None]
        return Samples(_spread(found, count), {}, str(folder))
    why = []
    for split in ("val", "train"):
        try:
            fabric = make_fabric(dataclasses.replace(restored.config.train, deterministic=False))
            dataset = measured_split(fabric, restored, split)
        except UserError as error:
            why.append(str(error.problems[0]))
            continue
        places = _spread(list(range(len(dataset))), count)
        files = [(place, _file(dataset, place)) for place in places]
        if any(path is None for _, path in files) or len({path for _, path in files}) < len(places) or not files:
            why.append(f"the samples of '{split}' are no files of pictures")
            continue
        pictures = [path for _, path in files if path is not None]
        truths = {str(path): Truth.of(dataset[place]) for place, path in files if path is not None}
        return Samples(pictures, truths, f"the run's {split}")
    message = f"an export is proved on real pictures, and there are none: {'; '.join(why)}"
    raise ConfigError(Problem("--samples", message, "--samples FOLDER, or data.root=FOLDER where the data is"))


_BY_PILLOW = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")


def _file(dataset: Dataset, place: int) -> Path | None:
    """The file of a sample's picture, where it has one that Pillow can open."""
    files = dataset.files(place)
    return files[0] if files and files[0].suffix.lower() in _BY_PILLOW else None


def _spread(every: list, count: int) -> list:
    """`count` of them at equal distances, or all."""
    if len(every) <= count:
        return every
    return [every[round(place * (len(every) - 1) / max(1, count - 1))] for place in range(count)]
