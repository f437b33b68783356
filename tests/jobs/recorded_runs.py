"""Run folders with the record of an evaluation, written in a moment: no model, no pictures on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from toolkit.engine.evaluate import counted_rows
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.results.intervals import interval_sections
from toolkit.results.record import Record
from toolkit.samples import LabelMap, Truth

NAMES = ("sky", "road", "car")
SIZE = (12, 16)


def record(
    skill: float, seed: int = 0, images: int = 20, classes: Sequence[str] = NAMES, names: Sequence[str] = ()
) -> Record:
    """The record of answers that are right with a probability, always on the same images."""
    truths = np.random.default_rng(0).choice(3, (images, *SIZE), p=[0.5, 0.3, 0.2]).astype(np.uint8)
    rng = np.random.default_rng([seed, int(1000 * skill)])
    hit = rng.random(truths.shape) < skill
    found = np.where(hit, truths, rng.integers(0, 3, truths.shape)).astype(np.uint8)
    order = np.array([NAMES.index(name) for name in classes])
    place = np.argsort(order).astype(np.uint8)
    told = names or [f"{number}.png" for number in range(images)]
    pairs = zip(told, truths, strict=True)
    true = [Truth(name, number, SIZE, place[truth]) for number, (name, truth) in enumerate(pairs)]
    maps = [LabelMap(torch.from_numpy(place[one])) for one in found]
    evaluator = SemanticEvaluator(list(classes))
    about = {"task": "segmentation", "classes": list(classes), "split": "val", "metric": "mIoU", "percent": True,
             "evaluators": ["semantic"], "weights": f"{seed}-{skill}"}  # fmt: skip
    made = Record.of(counted_rows([evaluator], maps, true), about)
    return made.with_numbers(metrics=evaluator.compute(), **interval_sections(made, resamples=50))


def write_run(folder: Path, made: Record, config: Mapping[str, Any] | None = None) -> Path:
    """A run folder with the record in its place; its path."""
    run_config = {"seed": 0, "name": folder.name, "train": {"steps": 100}, **(config or {})}
    made.write(folder / "evaluation" / str(made.about["split"]))
    (folder / "config.yaml").write_text(yaml.safe_dump(run_config))
    (folder / "metrics.jsonl").write_text('{"step": 100, "val/mIoU": 0.5}\n')
    return folder


def other(made: Record, **about: Any) -> Record:
    """The same record that says something else of itself."""
    return replace(made, about={**made.about, **about})
