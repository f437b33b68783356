"""The pages of records made of what the records say: nothing is computed, and no model is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.config.load import parse_config
from toolkit.config.paths import config_text
from toolkit.errors import UserError
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.division import kept_parts
from toolkit.jobs.record_folders import record_folder_of, run_of
from toolkit.report.evaluation.comparison import write_comparison_page
from toolkit.report.evaluation.page import PAGE_FILE, evaluation_page
from toolkit.report.evaluation.pictures import Reader, reader_of
from toolkit.report.page import write_page
from toolkit.results.record import Record
from toolkit.results.same_images import in_order_of


def write_report(path: str | Path, split: str | None = None, out: str | Path | None = None) -> dict[str, Any]:
    """Writes `report.html` of a record anew; returns {"report": its path, "record": the folder, "notes": sentences}.

    Args:
        path: a run folder, or the folder of a record.
        split: which record of the run; None takes val, or the only one.
        out: the page's file; None is `report.html` in the record's folder.

    Raises:
        UserError: for a path without a record, and for one that is damaged.
    """
    folder = record_folder_of(path, split)
    record = Record.read(folder)
    run = _run_of_record(folder, record)
    read, notes = reader_of_run(run, str(record.about.get("split", "")))
    page = evaluation_page(record, folder, read, run if (run / "config.yaml").is_file() else None)
    written = write_page(Path(out) if out is not None else folder / PAGE_FILE, page)
    return {"report": str(written), "record": str(folder), "notes": notes}


def write_comparison_report(comparison: Mapping[str, Any], folder: str | Path) -> dict[str, Any]:
    """Writes `compare.html` beside a comparison; returns {"page": its path, "notes": sentences}.

    comparison: as plain JSON, with the folders of its records. folder: that of the page, made if need be.
    """
    folders = [Path(path) for path in comparison["records"]]
    first, *others = [Record.read(path) for path in folders]
    read, notes = reader_of_run(_run_of_record(folders[0], first), str(first.about.get("split", "")))
    records = [first, *(in_order_of(record, first) for record in others)]
    return {"page": str(write_comparison_page(folder, comparison, records, read)), "notes": notes}


def _run_of_record(folder: Path, record: Record) -> Path:
    """The run whose folder the record is in; for a record that lies elsewhere, that of the weights it names."""
    run, weights = run_of(folder), str(record.about.get("checkpoint") or "")
    return run if (run / "config.yaml").is_file() or not weights else Path(weights).parent


def reader_of_run(run: Path, split: str) -> tuple[Reader | None, list[str]]:
    """Reads the images that the run's config names; None, and why, where they are not to be had."""
    config = run / "config.yaml"
    if not config.is_file():
        return None, [f"no pictures: {config} is not there, which says where the images are"]
    try:
        # Code that the config names stays unimported: whoever sends a run shall run nothing by its page.
        told = parse_config(config_text(config), str(config))
        lists = run / "splits"
        parts = kept_parts(lists) if told.data.split is not None and lists.is_dir() else None
        return reader_of(build_dataset(told, split, parts=parts)), []
    except UserError as error:
        return None, [f"no pictures: {error}"]
