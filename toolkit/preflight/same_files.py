"""Splits that share image files by name: validation on training images measures memory, not skill."""

from __future__ import annotations

from pathlib import Path

from toolkit.contracts import Dataset
from toolkit.errors import Problem
from toolkit.preflight.report import Finding, Report
from toolkit.preflight.sample_files import image_paths


def check_same_files(report: Report, datasets: dict[str, Dataset]) -> None:
    """Notes every pair of splits with image files in common. Only paths are compared: copies are the full check's."""
    files = {split: {str(path) for path in image_paths(dataset)} for split, dataset in datasets.items()}
    splits = list(files)
    for place, one in enumerate(splits):
        for other in splits[place + 1 :]:
            shared = files[one] & files[other]
            if shared:
                report.add(_finding(one, other, shared, len(files[other])))


def _finding(one: str, other: str, shared: set[str], count: int) -> Finding:
    paths = tuple(str(Path(path).absolute()) for path in sorted(shared)[:20])
    all_of_it = "is the same images as" if len(shared) == count else f"has {len(shared)} of its {count} images from"
    message = f"'{other}' {all_of_it} '{one}' (e.g. {paths[0]}): what is measured on them says nothing of new images"
    problem = Problem(f"data.{other}.dataset", message, "keep the splits apart, or expect flattering numbers")
    return Finding("same_files", problem, "warning", len(shared), paths)
