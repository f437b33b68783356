"""From a folder of files to a config: look, name the layout, measure what matters, write."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.contracts import Dataset
from toolkit.data.classes.tables import class_table
from toolkit.data.formats.boxed import BoxDataset
from toolkit.data.layouts.candidate import WHOLE, Candidate, Task
from toolkit.data.layouts.class_names import name_tables
from toolkit.data.layouts.mask_files import classes_of, look_into, refuse_confused
from toolkit.data.layouts.recognise import key_of, matching, recognise, refuse_doubt
from toolkit.data.layouts.tree import Tree, scan, spread
from toolkit.engine.machine import usable_cores
from toolkit.errors import ConfigError, DataError, Problem, UserError
from toolkit.files import cannot_write
from toolkit.jobs.build_data import build_dataset, build_whole
from toolkit.jobs.first_config import config_text, start_said
from toolkit.jobs.measured_start import channels_of, with_numbers_of_classes, with_size_and_steps
from toolkit.jobs.starting_point import DIVIDED, LITE, StartingPoint, batch_size
from toolkit.labels import ClassTable, default_palette
from toolkit.preflight.data.files import stored_sizes
from toolkit.progress import Progress, waiting

SAMPLE = 2000
"""Files of each kind that are opened, unless asked otherwise."""
_MANY = 5000
"""Pictures from which on reading their annotation takes long enough to be told of."""

Told = Callable[[str], None]


class Reading(NamedTuple):
    """How a folder is read.

    Args:
        candidate: the layout that was chosen.
        classes: names of the labels, with their colours.
        splits: arguments of the data set of each split.
        notes: what was guessed or left out.
    """

    candidate: Candidate
    classes: ClassTable
    splits: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


def init_folder(
    folder: Path,
    out: Path,
    *,
    task: Task | None = None,
    layout: str | None = None,
    minutes: float = 20.0,
    sample: int = SAMPLE,
    skip_bad: bool = False,
    told: Told = lambda line: None,
) -> dict[str, Any]:
    """Looks at a folder and writes a config for it.

    Args:
        folder: with pictures and their annotation, in any of the known layouts.
        out: YAML file that is written; never over another.
        task: what is to be learned; None takes what the folder is made for.
        layout: name of the layout, where several fit.
        minutes: time that the training may take.
        sample: how many files of each kind are opened at most.
        skip_bad: whether the config leaves out what is wrong, instead of stopping.
        told: takes what was found, as lines for people.

    Returns:
        {"layout", "task", "confidence", "evidence", "config", "classes", "splits", "notes", ...}: plain values.

    Raises:
        UserError: what cannot be understood, contradicts itself, or fits in several ways.
    """
    _refuse_out(out, folder)
    tree, candidates = _looked_at(folder)
    chosen, notes = _choose(tree, candidates, task, layout)
    told(f"layout     {chosen.layout}, {chosen.task}: {chosen.confidence:.0%} sure")
    for line in chosen.evidence:
        told(f"           {line}")
    if chosen.pictures > _MANY:
        told(f"reading    the annotation of {chosen.pictures} pictures")
    reading = _read(tree, chosen, sample)
    reading = reading._replace(notes=(*notes, *reading.notes))
    draft = _draft(folder, reading, skip_bad=skip_bad)
    final, datasets = _tuned(draft, out, minutes)
    for note in final.notes:
        told(f"note       {note}")
    told(f"classes    {len(final.classes)}: {', '.join(final.classes[:12])}{' ...' if len(final.classes) > 12 else ''}")
    told(f"start      {start_said(final)}")
    told(f"training   {final.steps} steps of {final.batch} images; {final.time}")
    text = config_text(final)
    parse_config(text, str(out))
    _write(out, text)
    return {
        "layout": chosen.layout,
        "task": chosen.task,
        "confidence": chosen.confidence,
        "evidence": list(chosen.evidence),
        "config": str(out),
        "classes": list(final.classes),
        "splits": datasets,
        "divided": DIVIDED if WHOLE in final.splits else None,
        "notes": list(final.notes),
        "start": start_said(final),
        "steps": final.steps,
        "time": final.time,
    }


def folder_config(
    folder: Path,
    *,
    task: Task | None = None,
    layout: str | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Config:
    """The config of a folder's data as far as the data are read by it: data sets, classes and splits; nothing is written.

    Args:
        folder: the folder of pictures that is looked at.
        task: what is to be learned, where the folder serves several tasks.
        layout: name of the layout, where several fit.
        told: takes what was found, as lines for people.

    Raises:
        UserError: what cannot be understood, contradicts itself, or fits in several ways.
    """
    tree, candidates = _looked_at(folder)
    chosen, notes = _choose(tree, candidates, task, layout)
    told(f"layout     {chosen.layout}, {chosen.task}: {chosen.confidence:.0%} sure")
    reading = _read(tree, chosen, _OPENED)
    for note in (*notes, *reading.notes):
        told(f"note       {note}")
    return parse_config(config_text(_draft(folder, reading, skip_bad=False)), str(folder))


_OPENED = 2000
"""Files of each kind that are opened at most, to see which values masks have."""


def _refuse_out(out: Path, folder: Path) -> None:
    """Raises ConfigError for a file that exists, or would lie in the data."""
    if out.exists():
        raise ConfigError(Problem("--out", f"{out} exists already", "choose another name: --out FILE"))
    if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
        message = f"{out} would lie in the data folder {folder}, where nothing is written"
        raise ConfigError(Problem("--out", message, "name a file elsewhere: --out FILE"))


def _looked_at(folder: Path) -> tuple[Tree, list[Candidate]]:
    """The files of a folder, and how they may be read."""
    with Progress("look", 0, "files", every=5.0) as progress:
        tree = scan(folder, lambda number: progress.update(number))
        return tree, recognise(tree)


def _choose(
    tree: Tree, candidates: Sequence[Candidate], task: Task | None, layout: str | None
) -> tuple[Candidate, list[str]]:
    """The candidate that is meant, and what is said of others that say the same in another form."""
    meant = matching(tree, candidates, task, layout)
    first = meant[0]
    rivals = [one for one in meant if not one.annotations & first.annotations]
    same = [one for one in rivals if one.task == first.task and _are_equal(tree, first, one)]
    chosen = refuse_doubt([one for one in meant if one not in same], candidates)
    return chosen, [
        f"the same boxes are here as {one.layout} too; --layout {key_of(one, candidates)} reads those" for one in same
    ]


def _are_equal(tree: Tree, one: Candidate, other: Candidate) -> bool:
    """Whether two annotations of boxes are one in two forms: as many boxes of each class on the same pictures."""
    if one.task != "detection" or set(one.splits) != set(other.splits) or one.pictures != other.pictures:
        return False
    try:
        tables = [_boxes_by_picture(tree, each) for each in (one, other)]
    except UserError:
        return False
    return tables[0] == tables[1]


def _boxes_by_picture(tree: Tree, candidate: Candidate) -> dict[tuple[str, str], dict[str, int]]:
    found = {}
    for split, dataset in _unnamed(tree, candidate).items():
        if not isinstance(dataset, BoxDataset):
            raise DataError("no boxes")
        index = dataset.index
        for place in range(len(index)):
            labels = index.labels[int(index.offsets[place]) : int(index.offsets[place + 1])].tolist()
            counts = {dataset.classes[label]: labels.count(label) for label in set(labels)}
            found[split, Path(index.names[place]).name] = counts
    return found


def _unnamed(tree: Tree, candidate: Candidate) -> dict[str, Dataset]:
    """The data sets of a candidate with the classes that they find themselves."""
    root = tree.root / candidate.root
    text = config_text(
        StartingPoint(str(root), "", candidate.task, candidate.classes or ("unknown",), ((0, 0, 0),), candidate.splits)
    )
    config = parse_config(text, "init")
    if candidate.classes is None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, classes=None))
    splits = [split or "train" for split in candidate.splits]
    with waiting(f"the annotation of {candidate.pictures} pictures is read ..."):
        return {split: build_whole(config, split) for split in splits}


def _read(tree: Tree, candidate: Candidate, sample: int) -> Reading:
    """Classes and arguments of the data sets; masks are opened for them."""
    place = tree.root / candidate.root
    if candidate.layout == "cityscapes":
        return Reading(candidate, class_table("cityscapes19"), candidate.splits, candidate.notes)
    if candidate.masks:
        return _read_masks(tree, candidate, sample)
    names, notes = candidate.classes, list(candidate.notes)
    if names is None:
        found = [one.classes for one in _unnamed(tree, candidate).values()]
        names = tuple(dict.fromkeys(name for classes in found for name in classes))
        if not all(one == found[0] for one in found):
            names = tuple(sorted(names, key=lambda name: (name != "background", name)))
    refuse_confused(names, place)
    return Reading(candidate, ClassTable(names, default_palette(len(names))), candidate.splits, tuple(notes))


def _read_masks(tree: Tree, candidate: Candidate, sample: int) -> Reading:
    paths = spread(candidate.masks, sample)
    with Progress("masks", len(paths), "files", every=5.0) as progress:
        stored = look_into((tree.root / path for path in paths), progress.update)
    found = classes_of(stored, name_tables(tree, candidate.root), tree.root / paths[0])
    refuse_confused(found.names, tree.root / candidate.root)
    notes = [*candidate.notes, *found.notes]
    if len(paths) < len(candidate.masks):
        notes.append(f"{len(paths)} of {len(candidate.masks)} masks were opened: rare values may be missing (--sample)")
    splits = {split: {**arguments, **found.arguments} for split, arguments in candidate.splits.items()}
    return Reading(candidate, ClassTable(found.names, found.palette), splits, tuple(notes))


def _draft(folder: Path, reading: Reading, *, skip_bad: bool) -> StartingPoint:
    """A first config, whose data can be built."""
    chosen = reading.candidate
    what = f"{chosen.layout} ({chosen.task}), {chosen.confidence:.0%} sure: {chosen.evidence[0]}"
    return StartingPoint(
        str((folder / chosen.root).absolute()),
        what,
        chosen.task,
        reading.classes.names,
        reading.classes.palette,
        reading.splits,
        images=chosen.pictures,
        on_gpu=torch.cuda.is_available(),
        pretrained=importlib.util.find_spec(LITE) is not None,
        workers=min(8, usable_cores() - 1),
        on_bad="skip" if skip_bad else "stop",
        notes=reading.notes,
    )


def _tuned(draft: StartingPoint, out: Path, minutes: float) -> tuple[StartingPoint, dict[str, int]]:
    """The config with all that follows from data and machine, and how many images each split has."""
    config = parse_config(config_text(draft), str(out))
    skips, divided = draft.on_bad == "skip", WHOLE in draft.splits
    build = build_dataset if skips else build_whole
    splits = [split or "train" for split in draft.splits] + (["val"] if divided and skips else [])
    with waiting(f"the annotation of {draft.images} pictures is read ..."):
        datasets = {split: build(config, split) for split in splits}
    train = datasets["train"]
    numbers = {split: len(dataset) for split, dataset in datasets.items()}
    if divided and not skips:
        held = max(1, round(DIVIDED["val"] * len(train)))
        numbers = {"train": len(train) - held, "val": held, **{s: n for s, n in numbers.items() if s != "train"}}
    sizes = list(stored_sizes(train).values())
    if not sizes:
        raise DataError(
            Problem(Path(draft.root), "no picture of the training data can be opened", "toolkit check names them")
        )
    start = dataclasses.replace(
        draft,
        channels=channels_of(train, draft),
        batch=batch_size(numbers["train"], draft.task, on_gpu=draft.on_gpu),
    )
    start = with_numbers_of_classes(start, train)
    if start.channels != draft.channels:
        train = build(parse_config(config_text(start), str(out)), "train")
    return with_size_and_steps(start, train, sizes, numbers, minutes, str(out)), numbers


def _write(out: Path, text: str) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(Problem("--out", f"{out} exists already", "choose another name: --out FILE")) from None
    except OSError as error:
        raise cannot_write(out, error) from error
