"""Anybody's predictions measured without a model: masks against masks or a data set, COCO results against annotations."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from toolkit.contracts import Evaluator
from toolkit.data.images.listing import image_files
from toolkit.engine.evaluate import counted_rows
from toolkit.engine.machine import environment
from toolkit.errors import DataError, missing_path
from toolkit.jobs.compared_files import Compared, compared_files
from toolkit.jobs.evaluate import make_folder
from toolkit.jobs.record import (
    Measured,
    Source,
    about_evaluation,
    made_record,
    makers_of,
    refuse_other_record,
    told_of_record,
    with_all_numbers,
    write_record,
)
from toolkit.progress import Progress
from toolkit.results.image_rows import ImageRow
from toolkit.results.tags import read_tags


def evaluate_files(
    predictions: str | Path,
    annotations: str | Path,
    *,
    classes: str | Sequence[str] | None = None,
    split: str = "val",
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    group: str | None = None,
    tags: str | Path | None = None,
) -> dict[str, Any]:
    """Measures predictions from files and writes their record; returns what `run_evaluation` does.

    Args:
        predictions: a folder of masks, or a JSON file of COCO's results format.
        annotations: a folder of masks of the same names, a COCO instances file, or a config whose data is measured.
        classes: names of the labels of masks in folders, a list, or text with commas or a preset's name.
        split: which data set of a config.
        overrides: changes of that config, each `key=value`.
        out: folder of the record; None is PREDICTIONS_evaluation beside the predictions.
        group: which images belong together, in place of the config's `data.group`.
        tags: a CSV file of image and tags.

    Raises:
        UserError: for files that are missing, do not belong together, or hold what cannot be counted.
    """
    answers, truth = Path(predictions), Path(annotations)
    for what, path in (("predictions", answers), ("annotations", truth)):
        if not path.exists():
            raise DataError(missing_path(what, path))
    compared = compared_files(answers, truth, classes, split, overrides)
    folder = Path(out) if out is not None else answers.with_name(f"{answers.stem}_evaluation")
    table = read_tags(tags) if tags is not None else None
    source = _source(answers, truth, classes, split, overrides, {"--group": group, "--tags": tags, "--out": out})
    refuse_other_record(folder, source)
    make_folder(folder)
    began = time.monotonic()
    evaluators = compared.build()
    rows = _rows(compared, evaluators)
    metrics = {name: value for evaluator in evaluators for name, value in evaluator.compute().items()}
    about = about_evaluation(evaluators, compared.classes, split, source)
    about["environment"] = environment("cpu", compared.seed)
    makers = makers_of(compared.build)
    rule = group if group is not None else compared.group
    record = with_all_numbers(made_record(Measured(rows, metrics, {}), about, rule, table), makers)
    write_record(folder, record, makers, compared.read, None)
    return {
        "checkpoint": str(answers),
        "split": split,
        "images": len(record),
        "skipped": [],
        "seconds": round(time.monotonic() - began, 3),
        "metrics": metrics,
        "losses": {},
        "unlabelled": 0,
        "tables": [table for evaluator in evaluators for table in evaluator.tables()],
        **told_of_record(record, folder, compared.notes),
    }


def _rows(compared: Compared, evaluators: Sequence[Evaluator]) -> list[ImageRow]:
    rows: list[ImageRow] = []
    with Progress("evaluate", compared.number, "img") as progress, torch.inference_mode():
        for prediction, truth, look in compared.pairs:
            rows += counted_rows(evaluators, [prediction], [truth], [look] if look is not None else None)
            progress.update(len(rows))
    return rows


def _source(
    answers: Path,
    truth: Path,
    classes: str | Sequence[str] | None,
    split: str,
    overrides: Sequence[str],
    wishes: Mapping[str, Any],
) -> Source:
    names = classes if classes is None or isinstance(classes, str) else ",".join(classes)
    given = {"--annotations": truth, "--split": split, "--classes": names, **wishes}
    command = ["toolkit", "evaluate", "--predictions", str(answers)]
    for option, value in given.items():
        command += [option, str(value)] if value is not None else []
    options = {"annotations": str(truth), "classes": names, **dict(one.partition("=")[::2] for one in overrides)}
    return Source(None, _digest(answers), options, str(answers), [*command, *overrides])


def _digest(answers: Path) -> str:
    """SHA-256 of a file, or of all masks of a folder with their names."""
    digest = sha256()
    for path in [answers] if answers.is_file() else image_files(answers).paths:
        digest.update(f"{path.relative_to(answers.parent).as_posix()}\n".encode("utf-8", "surrogateescape"))
        digest.update(path.read_bytes())
    return digest.hexdigest()
