"""The galleries of an evaluation's page: images worth a look, and crops of suspicious labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from toolkit.contracts import Dataset
from toolkit.drawing import LegendEntry
from toolkit.errors import UserError
from toolkit.labels import ClassTable, background_labels
from toolkit.report.evaluation.box_cards import box_card, box_kind_legend
from toolkit.report.evaluation.choice import Chosen, choose
from toolkit.report.evaluation.label_cards import class_entries, kind_legend, label_card
from toolkit.report.gallery import Card, DrawnBox, Gallery, View, box_layer, card_picture, within_budget
from toolkit.results.record import Record
from toolkit.results.small_maps import small_map, unpacked_map
from toolkit.samples import Sample

Reader = Callable[[str], Sample | None]
"""Name of an image in a record -> the image as its data set reads it, with its annotation; None when it is not there."""

PER_IMAGE_FILE = "per_image.csv"
DRAWN_FROM = 0.5
"""Score from which boxes are drawn where no operating point is known."""
_WORK = 36
"""Suspicious labels with a crop, at most."""
_LEAST = 64
"""Pixels of a crop's side, at least."""
_WORK_KINDS = {"class": "another class?", "box": "drawn badly?", "missing": "label missing?", "extra": "nothing there?"}
_SUSPECT = (255, 64, 64)


def class_table(record: Record) -> ClassTable:
    """Names and colours of a record's classes."""
    palette = tuple((r, g, b) for r, g, b in record.about.get("palette") or ())
    return ClassTable(record.classes, palette)


def image_scores(folder: Path, metric: str, images: Sequence[str]) -> list[float | None]:
    """The metric of each image, from the table of images in a record's folder; None where it says nothing.

    Args:
        folder: folder of the record, with per_image.csv.
        metric: name of the metric, the heading of a column.
        images: names of the images, in the order that is wanted.
    """
    file = folder / PER_IMAGE_FILE
    found: dict[str, float] = {}
    if file.is_file():
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                text = row.get(metric) or ""
                if text:
                    found[row.get("image") or ""] = float(text)
    return [found.get(name) for name in images]


def unpainted_in(record: Record) -> frozenset[int]:
    """Labels of a background, which is not painted in label maps."""
    return frozenset(background_labels(record.classes)) if "map_bytes" in record.arrays else frozenset()


def thresholds(record: Record, classes: Sequence[str] = ()) -> tuple[np.ndarray, str]:
    """(K,) scores from which on boxes of each class are drawn, and a sentence that says them.

    classes: names of the classes in the order that is wanted, if not the record's.
    """
    names = tuple(classes) or record.classes
    points = (record.numbers.get("operating_points") or {}).get("by_class") or {}
    own = {name: point["threshold"] for name, point in points.items() if (point or {}).get("threshold") is not None}
    values = np.array([own.get(name, DRAWN_FROM) for name in names], np.float64)
    if not own:
        return values, f"Boxes are drawn from score {DRAWN_FROM:.2f} on."
    said = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values.tolist(), strict=True))
    return values, f"Boxes are drawn from the operating point of their class on: {said}."


def gallery_of(
    record: Record, scores: Sequence[float | None], score_words: Callable[[float | None], str], read: Reader
) -> Gallery:
    """Images worth a look: the worst, the middle and the best, and the worst of each class.

    Args:
        record: what an evaluation counted, with its numbers.
        scores: number of each image by which they are chosen and sorted, larger is better; None where undefined.
        score_words: such a number for people.
        read: reads an image by its name in the record.
    """
    chosen = choose(scores, _wrong_pixels(record)) or [Chosen(place, "") for place in range(min(len(record), 36))]
    missing: list[str] = []
    kept, cut = within_budget(_cards(record, chosen, scores, score_words, read, missing))
    note = [f"{len(kept)} of {len(record)} images are shown."]
    if cut:
        note.append(f"{cut} more would have been, but the page would be too large for mail.")
    if missing:
        note.append(f"{len(missing)} could not be read: {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}.")
    if "detection_scores" in record.arrays:
        note.append(thresholds(record)[1])
    views, kinds = _views(record)
    present = sorted({label for card in kept for label in card.labels})
    entries = class_entries(class_table(record), present)
    return Gallery(views, tuple(kept), entries, kinds, " ".join(note), unpainted=unpainted_in(record))


def _views(record: Record) -> tuple[tuple[View, ...], tuple[tuple[str, LegendEntry], ...]]:
    """The views that a record has pictures for, and the kinds of errors in them."""
    if "map_bytes" in record.arrays:
        return EVALUATION_VIEWS, kind_legend()
    if "detection_scores" in record.arrays:
        return EVALUATION_VIEWS, box_kind_legend()
    return EVALUATION_VIEWS[:1], ()


EVALUATION_VIEWS = (
    View("image", "image"),
    View("truth", "truth"),
    View("prediction", "prediction"),
    View("error", "error"),
)


def _wrong_pixels(record: Record) -> np.ndarray | None:
    """(N, K) wrong pixels of each class in each image, lost and invented; None without label maps."""
    if "confusion_cells" not in record.arrays:
        return None
    right, true, predicted = record.class_pixels.transpose(1, 0, 2)
    wrong = true + predicted - 2 * right
    wrong[:, list(background_labels(record.classes))] = 0
    return wrong


def _cards(
    record: Record,
    chosen: Sequence[Chosen],
    scores: Sequence[float | None],
    score_words: Callable[[float | None], str],
    read: Reader,
    missing: list[str],
) -> Iterator[Card]:
    """The cards of the chosen images; names of those that cannot be read go to `missing`."""
    table, (limits, _) = class_table(record), thresholds(record)
    for one in chosen:
        sample = readable(read, record.images[one.place])
        if sample is None:
            missing.append(record.images[one.place])
            continue
        score = scores[one.place]
        words = score_words(score)
        size = (int(record.sizes[one.place, 0]), int(record.sizes[one.place, 1]))
        answer = unpacked_map(record.arrays, one.place, size)
        if answer is not None and sample.label_map is not None:
            yield label_card(one, sample, {"prediction": answer}, table, words, score)
        elif "detection_scores" in record.arrays:
            yield box_card(one, sample, {"prediction": record.arrays}, limits, table, words, score)
        else:
            yield Card(sample.name, words, score, one.part, card_picture(sample.image), sample.original_size, {})


def reader_of(dataset: Dataset) -> Reader:
    """Reads the images of a data set by their names. One that does not say its files is read through once for them."""
    places: dict[str, int] = {}

    def read(name: str) -> Sample | None:
        if not places:
            places.update({_name(dataset, place): place for place in range(len(dataset))})
        return dataset[places[name]] if name in places else None

    return read


def _name(dataset: Dataset, place: int) -> str:
    files = dataset.files(place)
    if not files:
        return dataset[place].name
    return files[0].absolute().relative_to(dataset.root.absolute()).as_posix()


def readable(read: Reader, name: str) -> Sample | None:
    """An image, or None when it is missing or damaged: a page is made of what there is."""
    try:
        return read(name)
    except UserError:
        return None


# --------------------------------------------------------------------------- worklist


def worklist_of(record: Record, read: Reader) -> Gallery | None:
    """Crops of suspicious labels, the most suspicious first; None for a record without any."""
    items: Sequence[Mapping[str, Any]] = record.numbers.get("worklist") or ()
    if not items:
        return None
    table = class_table(record)
    cards = (_work_card(record, item, table, sample) for item in items[:_WORK]
             if (sample := readable(read, item["image"])) is not None)  # fmt: skip
    kept, _ = within_budget(cards, 3 * 2**20)
    note = (
        f"{len(kept)} of {len(items)} suspicious labels are shown; metrics.json lists all of them."
        if len(kept) < len(items)
        else ""
    )
    views = (View("image", "image"), View("truth", "annotation"), View("prediction", "prediction"))
    present = sorted({label for card in kept for label in card.labels})
    orders = ("least suspicious first", "most suspicious first")
    return (
        Gallery(
            views,
            tuple(kept),
            class_entries(table, present),
            (),
            note,
            orders,
            narrow=True,
            unpainted=unpainted_in(record),
        )
        if kept
        else None
    )


def _work_card(record: Record, item: Mapping[str, Any], table: ClassTable, sample: Sample) -> Card:
    """A crop around a suspicious label, with the annotation and the prediction over it."""
    height, width = sample.original_size
    left, top, right, bottom = crop = _crop_of(item, (height, width))
    place = int(item["place"])
    chosen = Chosen(place, _WORK_KINDS.get(item["kind"], str(item["kind"])))
    words, order = str(item.get("reason") or ""), item.get("suspicion")
    answer = unpacked_map(record.arrays, place, (height, width))
    if answer is not None and sample.label_map is not None:
        whole = cv2.resize(answer, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)[top:bottom, left:right]
        image, truth = sample.image[top:bottom, left:right], sample.label_map[top:bottom, left:right]
        part = sample._replace(image=image, original_size=(bottom - top, right - left), label_map=truth)
        card = label_card(chosen, part, {"prediction": small_map(whole)}, table, words, order)
    else:
        answers = {"prediction": record.arrays}
        card = box_card(chosen, sample, answers, thresholds(record)[0], table, words, order, crop)
    mark = box_layer([DrawnBox(item["box"], _SUSPECT, "")], (bottom - top, right - left), (left, top))
    named = {item.get("label"), item.get("answer")}
    labels = frozenset(label for label, name in enumerate(record.classes) if name in named)
    layers = {key: card.layers[key] + mark for key in ("truth", "prediction")}
    return replace(card, layers={"image": mark, **layers}, labels=labels or card.labels, errors=frozenset())


def _crop_of(item: Mapping[str, Any], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what is shown, inside the image: its crop, made square where there is room."""
    left, top, right, bottom = (int(edge) for edge in item["crop"])
    side = max(right - left, bottom - top, _LEAST)
    left, right = _widened(left, right, side, size[1])
    top, bottom = _widened(top, bottom, side, size[0])
    return left, top, right, bottom


def _widened(low: int, high: int, wanted: int, most: int) -> tuple[int, int]:
    """A stretch of `wanted` pixels around another, moved so that it lies within 0..most."""
    wanted = min(wanted, most)
    low = min(max(0, (low + high - wanted) // 2), most - wanted)
    return low, low + wanted
