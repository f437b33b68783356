"""A data set in another form: pictures copied, annotations written anew, and every loss named."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toolkit.config.dataset import dataset_part
from toolkit.config.load import load_config
from toolkit.config.paths import ENDINGS
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.layouts.candidate import Task
from toolkit.data.writers.annotated import Loss
from toolkit.data.writers.coco import CocoFolder
from toolkit.data.writers.folder import FolderWriter, picture_names
from toolkit.data.writers.labelme import LabelmeFolder
from toolkit.data.writers.masks import MasksFolder
from toolkit.data.writers.source import Source, annotated_images, is_shared, source_of
from toolkit.data.writers.voc import VocFolder
from toolkit.data.writers.yolo import YoloFolder
from toolkit.errors import ConfigError, DataError, Problem, missing_path
from toolkit.files import cannot_write, replacing
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.build_part import build_part
from toolkit.jobs.init import folder_config
from toolkit.preflight.data.read import sample_name
from toolkit.progress import Progress

WRITERS: dict[str, type[FolderWriter]] = {
    "coco": CocoFolder,
    "voc": VocFolder,
    "yolo": YoloFolder,
    "masks": MasksFolder,
    "labelme": LabelmeFolder,
}
"""Formats by name; a new one is a subclass of `FolderWriter` and a line here."""


def convert(datasets: Mapping[str, Dataset], target: Path, form: str, *, shown: bool = True) -> dict[str, Any]:
    """Writes data sets in another format; {"images", "written" (files), "lost": [{"file", "what"}], "datasets"}.

    Args:
        datasets: the data sets by the name of their split, of the same classes.
        target: the folder that is written, new or empty, outside of the data.
        form: name of the format, one of `WRITERS`.
        shown: whether progress is shown on stderr.

    Raises:
        ConfigError: for a folder that is used, and annotations that the format cannot hold.
        DataError: for data sets that differ in kind, and files that cannot be read.
    """
    _refuse(target, [dataset.root for dataset in datasets.values()])
    source = _common_source(datasets)
    writer = WRITERS[form](target, source.classes, source.content, source.background)
    taken: set[str] = set()
    with Progress("convert", sum(map(len, datasets.values())), "img", shown=shown) as progress:
        for split, dataset in datasets.items():
            shared = is_shared(dataset)
            names = [_name(dataset, index, anew=anew) for index, anew in enumerate(shared)]
            pictures = picture_names(names, flat=writer.flat, taken=taken if writer.flat else None)
            drawn = form in ("masks", "voc")
            for index, image in enumerate(annotated_images(dataset, source, pictures, drawn=drawn)):
                _copy(dataset, index, writer.add(split, image, dataset.channels), anew=shared[index])
                progress.update(progress.done + 1)
    writer.finish()
    lost = [*_of_the_set(source, form), *writer.lost]
    return {
        "images": sum(map(len, datasets.values())),
        "written": writer.written + sum(map(len, datasets.values())),
        "lost": [one._asdict() for one in lost],
        "datasets": {split: {"root": str(target), **writer.read_by(split)} for split in writer.splits},
    }


def _common_source(datasets: Mapping[str, Dataset]) -> Source:
    sources = {split: source_of(dataset) for split, dataset in datasets.items()}
    first = next(iter(sources.values()))
    for split, one in sources.items():
        if one.classes.names != first.classes.names or one.content != first.content:
            message = f"has other classes, or another kind of annotation, than the first split: {', '.join(one.classes.names)}"
            raise DataError(Problem(f"data.{split}", message, "give data.classes, or convert the splits by themselves"))
    return first


def _refuse(target: Path, roots: Sequence[Path]) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        message = f"{target} is there already and is not empty"
        raise ConfigError(Problem("DST", message, "name a new folder: nothing is overwritten"))
    for root in roots:
        if target.resolve().is_relative_to(root.resolve()) and root != Path():
            message = f"{target.absolute()} lies in the source {root.absolute()}, where nothing is written"
            raise ConfigError(Problem("DST", message, "name a folder elsewhere"))


def _name(dataset: Dataset, index: int, *, anew: bool) -> str:
    """What a picture is called by the source, with a number where it is one of several in its file."""
    name = sample_name(dataset, index)
    return f"{name.rpartition('.')[0] or name}_{index:05d}.png" if anew else name


def _copy(dataset: Dataset, index: int, path: Path, *, anew: bool) -> None:
    """The picture of a sample: a copy of its file, or, where the file holds others too, a PNG of its own."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not anew:
            shutil.copyfile(dataset.files(index)[0], path)
            return
        pixels = dataset[index].image
        buffer = io.BytesIO()
        Image.fromarray(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
        with replacing(path, durable=False) as part:
            part.write_bytes(buffer.getvalue())
    except OSError as error:
        raise cannot_write(path, error) from error


def _of_the_set(source: Source, form: str) -> list[Loss]:
    """What the whole set loses: numbers of the source's files, which other formats have no place for."""
    return (
        [Loss("", "ids of images and categories: names stand for them")]
        if source.classes.ids and form != "coco"
        else []
    )


def datasets_of(
    source: Path,
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    split: str | None = None,
    task: Task | None = None,
    layout: str | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Dataset]:
    """The data sets of a config, of a folder that is recognised, or of one as a data set of that name reads it, by split.

    Args:
        source: a config, or a folder.
        overrides: changes of the config, or arguments of the data set `name`, each `key=value`.
        name: of the data set that reads the folder; None looks what the folder is.
        split: the only one that is wanted; None takes all that there are.
        task: what a folder is read for, where it serves several tasks.
        layout: name of a folder's layout, where several fit.
        told: takes what was found of a folder, as lines for people.

    Raises:
        ConfigError: for what is neither, DataError for what is wrong on disk.
    """
    if not source.exists():
        raise ConfigError(missing_path("config or folder", source))
    if name is not None:
        part, classes = dataset_part(name, source, overrides)
        context: dict[str, Any] = {} if classes is None else {"classes": classes}
        return {str(part.arguments.get("split") or split or "train"): build_part(part, **context)}
    if source.is_dir():
        if overrides:
            message = "change a config, or the data set that --from names; this folder is looked at"
            raise ConfigError(Problem("key=value", message, "toolkit init writes a config to change"))
        config = folder_config(source, task=task, layout=layout, told=told)
        if config.data.split is not None:  # a folder in one piece stays so
            whole = dataclasses.replace(config.data, split=None, val=None, test=None)
            config = dataclasses.replace(config, data=whole)
    elif source.suffix.lower() in ENDINGS:
        config = load_config(source, overrides)
    else:
        raise ConfigError(Problem(source, "is neither a config nor a folder", "name one of the two"))
    return {one: build_dataset(config, one) for one in _splits(config, split)}


def _splits(config: Config, split: str | None) -> list[str]:
    have = [one for one in ("train", "val", "test") if getattr(config.data, one) is not None]
    if split is not None and split not in have:
        raise ConfigError(Problem("--split", f"the config has no '{split}'; it has {', '.join(have)}"))
    return have if split is None else [split]
