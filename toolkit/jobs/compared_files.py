"""Predictions in files beside what they are compared with: masks or a data set, COCO annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from toolkit.config.load import load_config
from toolkit.config.paths import ENDINGS
from toolkit.contracts import EVALUATORS, Dataset, Evaluator
from toolkit.data.classes.tables import class_table, preset_names
from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.coco_file import read_coco_file
from toolkit.data.formats.coco_results_file import read_coco_results
from toolkit.data.formats.label_values import LabelReader
from toolkit.data.formats.name_lists import read_lines
from toolkit.data.images.fingerprint import look_of
from toolkit.data.images.label_maps import read_label_map
from toolkit.data.images.listing import image_files
from toolkit.data.splits.names import image_finder
from toolkit.errors import ConfigError, DataError, Place, Problem, UserError, listed
from toolkit.inference.writers.label_maps import MaskWriter
from toolkit.inference.writers.outputs import WRITERS
from toolkit.jobs.build import build_evaluators
from toolkit.jobs.build_data import build_dataset, classes_of
from toolkit.jobs.division import sample_names
from toolkit.labels import IGNORE_INDEX, ClassTable, default_palette
from toolkit.report.evaluation.pictures import Reader, reader_of
from toolkit.samples import Boxes, LabelMap, Prediction, Truth

_SHOWN = 5
_MOST_FAULTS = 20
"""Files that cannot be compared, of which so many are told at once."""

_OTHER_RESULTS = tuple(sorted({kind.suffix for kind in WRITERS.values()} - {MaskWriter.suffix}))
"""How files of other formats end that `toolkit predict` writes of a picture."""

Look = Mapping[str, np.ndarray] | None
Pairs = Iterator[tuple[Prediction, Truth, Look]]


class Compared(NamedTuple):
    """Predictions with what they are compared with.

    Args:
        classes: names, colours and ids of the classes.
        build: gives evaluators that have counted nothing yet.
        pairs: prediction, truth and look of each image; raises DataError for files that cannot be compared.
        number: how many images there are.
        group: which images belong together, as the config says; None where there is none.
        notes: sentences about what was assumed.
        seed: number of the config, 0 where there is none.
        read: reads an image by its name, where there are images.
    """

    classes: ClassTable
    build: Callable[[], list[Evaluator]]
    pairs: Pairs
    number: int
    group: str | None = None
    notes: tuple[str, ...] = ()
    seed: int = 0
    read: Reader | None = None


def compared_files(
    answers: Path, truth: Path, classes: str | Sequence[str] | None, split: str, overrides: Sequence[str]
) -> Compared:
    """What the two paths are decides how they are compared.

    Args:
        answers: a folder of masks, or a JSON file of COCO's results format.
        truth: a folder of masks of the same names, a COCO instances file, or a config whose data is measured.
        classes: names of the labels of masks in folders, a list, or text with commas or a preset's name.
        split: which data set of a config.
        overrides: changes of that config, each `key=value`.

    Raises:
        ConfigError: pairs that nothing is made of, options that do not belong to them.
        DataError: files that do not belong together.
    """
    boxes = answers.is_file()
    is_config = truth.is_file() and truth.suffix.lower() in ENDINGS
    if not is_config and overrides:
        message = f"{' '.join(overrides)}: only a config as --annotations has values to change"
        raise ConfigError(Problem(Place("command line"), message))
    if classes is not None and (is_config or boxes):
        message = "belongs to masks in folders; the annotations name their classes"
        raise ConfigError(Problem("--classes", message, "leave it out"))
    if is_config:
        return _with_config(answers, truth, split, overrides)
    if boxes and truth.is_file():
        return _with_coco(answers, truth)
    if not boxes and truth.is_dir():
        return _with_masks(answers, truth, classes)
    message = f"is a {'file' if boxes else 'folder'}, and {truth} a {'file' if truth.is_file() else 'folder'}"
    remedy = "compare COCO results (JSON) with a COCO instances file, masks with masks, either with a config"
    raise ConfigError(Problem(answers, message, remedy))


# --------------------------------------------------------------------------- boxes


def _with_coco(answers: Path, truth: Path) -> Compared:
    problems = ProblemList()
    truths, table = _coco_truths(truth, problems)
    pairs, told = _box_pairs(answers, truths, table, [None] * len(truths))
    part, count, notes = _counted(pairs)
    notes = (*problems.notes, *told, *notes)
    return Compared(table, lambda: [EVALUATORS.find("coco")(list(table.names))], part, count, None, notes)  # type: ignore[call-arg]


def _coco_truths(path: Path, problems: ProblemList) -> tuple[list[Truth], ClassTable]:
    """The images of a COCO instances file with their boxes, without opening one; and its categories, by id."""
    file = read_coco_file(path, problems)
    problems.stop_if_any(path, file.image_names)
    ids = [number for number, _, _ in file.categories]
    table = ClassTable(tuple(name for _, name, _ in file.categories), default_palette(len(ids)), tuple(ids))
    labels = np.searchsorted(ids, file.category_ids)
    xyxy = np.concatenate([file.xywh[:, :2], file.xywh[:, :2] + file.xywh[:, 2:]], axis=1)
    area = np.where(np.isnan(file.area), file.xywh[:, 2] * file.xywh[:, 3], file.area)
    whole = Boxes(xyxy, labels.astype(np.int64), file.crowd, np.zeros(len(labels), bool), area)
    order = np.argsort(file.owners, kind="stable")
    own = np.split(order, np.cumsum(np.bincount(file.owners, minlength=len(file.image_names)))[:-1])
    truths = []
    for name, number, (height, width), rows in zip(
        file.image_names, file.image_ids.tolist(), file.sizes.tolist(), own, strict=True
    ):
        truths.append(Truth(name, number, (height, width), boxes=whole.take(rows)))
    return truths, table


def _box_pairs(
    answers: Path, truths: Sequence[Truth], table: ClassTable, looks: Sequence[Look]
) -> tuple[list[Any], tuple[str, ...]]:
    """Detections, truth and look of each image, and a note on how images were found."""
    by_id = {truth.image_id: place for place, truth in enumerate(truths)}
    by_name = image_finder([truth.name for truth in truths])

    def image_of(written: Any) -> int | None:
        return by_name(written) if isinstance(written, str) else by_id.get(written) if type(written) is int else None

    categories = {table.id_of(label): label for label in range(len(table.names))}
    results = read_coco_results(answers, image_of, by_name, len(truths), categories, table.names)
    note = f"images of {answers.name} were found by `file` in each entry: its image_id counts pictures, not annotated images"
    return list(zip(results.found, truths, looks, strict=True)), (note,) if results.by_file else ()


def _counted(pairs: Sequence[Any]) -> tuple[Pairs, int, tuple[str, ...]]:
    """The pairs, their number, and a note on images without a detection."""
    empty = [truth.name for found, truth, _ in pairs if not len(found.scores)]
    notes = (f"{len(empty)} images have no detection: {listed(empty, _SHOWN)}",) if empty else ()
    return iter(pairs), len(pairs), notes


# --------------------------------------------------------------------------- a config's data set


def _with_config(answers: Path, path: Path, split: str, overrides: Sequence[str]) -> Compared:
    config = load_config(path, overrides)
    dataset = build_dataset(config, split)
    colors = classes_of(config, dataset)
    table = ClassTable(tuple(dataset.classes), tuple(colors.palette), tuple(dataset.category_ids))
    if not config.evaluate.evaluators:
        raise ConfigError(Problem("evaluate.evaluators", "the config names no evaluator"))

    def build() -> list[Evaluator]:
        return build_evaluators(config, table.names)

    if answers.is_file():
        samples = [_truth_and_look(dataset, place) for place in range(len(dataset))]
        pairs, told = _box_pairs(answers, [truth for truth, _ in samples], table, [look for _, look in samples])
        part, count, notes = _counted(pairs)
        notes = (*dataset.notes, *told, *notes)
        return Compared(table, build, part, count, config.data.group, notes, config.seed, reader_of(dataset))
    names = sample_names(dataset)
    masks, left = _answers_of(answers, names, f"images of '{split}'")
    _refuse_other_classes(answers, table.names)
    reader = LabelReader(table.names)

    def pair(place: int) -> tuple[Prediction, Truth, Look]:
        truth, look = _truth_and_look(dataset, place)
        return _mask(masks[place], reader, truth.size, truth.name), truth, look

    return Compared(
        table,
        build,
        _all(pair, len(names)),
        len(names),
        config.data.group,
        (*dataset.notes, *left),
        config.seed,
        reader_of(dataset),
    )


def _truth_and_look(dataset: Dataset, place: int) -> tuple[Truth, Look]:
    sample = dataset[place]
    return Truth.of(sample), look_of(np.asarray(sample.image))


# --------------------------------------------------------------------------- masks


def _with_masks(answers: Path, truth: Path, classes: str | Sequence[str] | None) -> Compared:
    listing = image_files(truth)
    if not listing.paths:
        raise DataError(Problem(truth, "holds no masks", "wanted the annotated masks, one an image"))
    names = [path.relative_to(truth).as_posix() for path in listing.paths]
    masks, left = _answers_of(answers, names, f"masks in {truth}")
    table, notes = _mask_classes(classes, truth, [*listing.paths, *masks])
    for folder in (answers, truth):
        _refuse_other_classes(folder, table.names)
    reader = LabelReader(table.names)

    def pair(place: int) -> tuple[Prediction, Truth, Look]:
        label_map = reader(listing.paths[place])
        height, width = label_map.shape
        true = Truth(names[place], place, (height, width), label_map)
        return _mask(masks[place], reader, true.size, str(listing.paths[place])), true, None

    def build() -> list[Evaluator]:
        return [EVALUATORS.find("semantic")(list(table.names))]  # type: ignore[call-arg]

    return Compared(table, build, _all(pair, len(names)), len(names), None, (*notes, *left))


def _all(pair: Callable[[int], tuple[Prediction, Truth, Look]], count: int) -> Pairs:
    """Every pair; the files that cannot be compared are told together at the end."""
    problems: list[Problem] = []
    for place in range(count):
        try:
            found = pair(place)
        except UserError as error:
            problems += error.problems
            if len(problems) >= _MOST_FAULTS:
                break
            continue
        if not problems:
            yield found
    if problems:
        raise DataError(problems)


def _mask(path: Path, reader: LabelReader, size: tuple[int, int], whose: str) -> LabelMap:
    labels = reader(path)
    if labels.shape != size:
        message = f"is {labels.shape[0]}x{labels.shape[1]} (height x width), but {whose} is {size[0]}x{size[1]}"
        raise DataError(Problem(path, message))
    return LabelMap(torch.from_numpy(labels))


def _masks_in(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The masks of a folder, and a note on what `toolkit predict` wrote beside the mask of the same picture."""
    paths = image_files(folder).paths
    there = set(paths)

    def is_beside(path: Path) -> bool:
        stems = (path.name.removesuffix(ending) for ending in _OTHER_RESULTS if path.name.endswith(ending))
        return any(path.with_name(f"{stem}{MaskWriter.suffix}") in there for stem in stems)

    left = [path for path in paths if is_beside(path)]
    if not left:
        return paths, ()
    names = listed([path.relative_to(folder).as_posix() for path in left], _SHOWN)
    there -= set(left)
    return [path for path in paths if path in there], (
        f"{len(left)} results of other formats were passed over: {names}",
    )


def _answers_of(folder: Path, names: Sequence[str], whose: str) -> tuple[list[Path], tuple[str, ...]]:
    """The predicted mask of each name, and notes. Raises DataError, with the names, for masks that are missing or of no image."""
    find = image_finder(names)
    found: dict[int, Path] = {}
    unknown, twice = [], []
    masks, notes = _masks_in(folder)
    for path in masks:
        place = find(path.relative_to(folder).as_posix())
        if place is None:
            unknown.append(str(path))
        elif found.setdefault(place, path) != path:
            twice.append(f"{path} and {found[place]}")
    missing = [name for place, name in enumerate(names) if place not in found]
    told = (
        (unknown, f"{len(unknown)} masks belong to none of the {len(names)} {whose}"),
        (twice, f"{len(twice)} images have two masks"),
        (missing, f"{len(missing)} of the {len(names)} {whose} have no mask here"),
    )
    problems = [Problem(folder, f"{message}: {listed(members, _SHOWN)}") for members, message in told if members]
    if problems:
        raise DataError(problems)
    return [found[place] for place in range(len(names))], notes


def _mask_classes(
    classes: str | Sequence[str] | None, truth: Path, masks: Sequence[Path]
) -> tuple[ClassTable, tuple[str, ...]]:
    """The classes of masks in folders: as given, as `classes.txt` beside the annotations says, else one a value."""
    if isinstance(classes, str):
        one_name = "," not in classes and classes in preset_names()
        classes = classes if one_name else [name.strip() for name in classes.split(",")]
    if classes is not None:
        return class_table(classes, "--classes"), ()
    own = _names_in(truth)
    if own is not None:
        return class_table(own[1], str(own[0])), (f"classes of {own[0]}",)
    values = {int(value) for path in masks for value in np.unique(read_label_map(path))} - {IGNORE_INDEX}
    count = max(values, default=0) + 1
    note = f"{count} classes, as many as the masks hold values from 0 on; --classes names them"
    return class_table([str(label) for label in range(count)], "--classes"), (note,)


def _names_in(folder: Path) -> tuple[Path, list[str]] | None:
    """Names of classes that a folder says itself, or the one it lies in, and the file that says them."""
    for file in (folder / "classes.txt", folder.parent / "classes.txt", folder.parent / "metrics.json"):
        if not file.is_file():
            continue
        if file.suffix == ".txt":
            return file, list(read_lines(file))
        try:
            names = json.loads(file.read_bytes())["about"]["classes"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if isinstance(names, list):
            return file, [str(name) for name in names]
    return None


def _refuse_other_classes(folder: Path, names: Sequence[str]) -> None:
    own = _names_in(folder)
    if own is not None and list(own[1]) != list(names):
        message = f"says the classes are {', '.join(own[1])}, but they are compared with {', '.join(names)}"
        raise DataError(Problem(own[0], message, "labels must mean the same on both sides, names and order"))
