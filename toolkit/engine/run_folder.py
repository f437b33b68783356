"""The folder of one run: its files, and the rule that no run overwrites another. Files appear by rename, whole or not."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, Problem, missing_path
from toolkit.files import cannot_write, replacing

NONFINITE_FILE = "nonfinite_batch.state"
"""A batch whose loss was not finite (`engine/replay.py`)."""
_BEFORE_THE_FIRST_SAVE = ("config.yaml", "environment.json", "skipped.json", "metrics.jsonl", "train.log")
_MAY_STAY = re.compile(rf"(rank\d+_)?{re.escape(NONFINITE_FILE)}|loggers\.json|tensorboard|wandb|mlflow")
_HALF_WRITTEN = re.compile(
    r"\.(?:config\.yaml|environment\.json|skipped\.json|metrics\.jsonl|last\.state|(?:last|best)\.safetensors)\.\d+\.tmp"
    r"|\.writable|\.tmp\w{6}"  # the last kind is the safetensors library's own
)


class RunFolder:
    """Paths of a run's files (see the names below) and how they are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.skipped = path / "skipped.json"
        self.metrics = path / "metrics.jsonl"
        self.log = path / "train.log"
        self.last = path / "last.safetensors"
        self.best = path / "best.safetensors"
        self.state = path / "last.state"

    @staticmethod
    def fresh(path: Path, *, exact: bool) -> RunFolder:
        """A new, empty folder. A used name gets a number, or, with `exact`, is refused.

        Raises ConfigError for a used name, UserError when the folder cannot be made.
        """
        chosen = path if exact else next_free(path)
        try:
            if not _is_free(chosen):
                message = "is a file" if chosen.is_file() else "is not empty, and a run never overwrites another"
                remedy = f"continue it with --resume, or start anew with --run {next_free(chosen)}"
                raise ConfigError(Problem(chosen, message, remedy))
            chosen.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(chosen)
            for leftover in _BEFORE_THE_FIRST_SAVE:
                (chosen / leftover).unlink(missing_ok=True)
            probe = chosen / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise cannot_write(chosen, error) from error
        return RunFolder(chosen)

    @staticmethod
    def to_continue(path: Path, *, exact: bool) -> RunFolder:
        """The folder of a run to continue: `path`, or, unless `exact`, its newest numbered sibling.

        Its run may have ended before it saved anything; the folder is then as a fresh one. What a kill left half
        written is removed. Raises ConfigError for a folder that is missing or is not a run's.
        """
        siblings = [] if exact else [numbered for n in range(2, 10_000) if (numbered := _numbered(path, n)).exists()]
        chosen = (siblings or [path])[-1]
        if not chosen.exists():
            raise ConfigError(missing_path("run folder", chosen, "--resume", "start it without --resume"))
        folder = RunFolder(chosen)
        if not folder.state.is_file() and not _is_free(chosen):
            message = f"{chosen} holds no last.state to continue from, and is not the folder of a run that never saved"
            remedy = "start without --resume in another folder; model.init_from starts from weights"
            raise ConfigError(Problem("--resume", message, remedy))
        _remove_leftovers(chosen)
        return folder

    def write_text(self, path: Path, text: str) -> None:
        """Text by rename."""
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")

    def write_json(self, path: Path, value: Any) -> None:
        """JSON by rename."""
        self.write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _is_free(path: Path) -> bool:
    """Whether a run may start here: nothing there, an empty folder, or one whose run failed before it saved anything."""
    if not path.exists():
        return True
    return path.is_dir() and all(
        entry.name in _BEFORE_THE_FIRST_SAVE or _HALF_WRITTEN.fullmatch(entry.name) or _MAY_STAY.fullmatch(entry.name)
        for entry in path.iterdir()
    )


def _remove_leftovers(path: Path) -> None:
    """Files that a killed process was still writing (see `files.replacing`); what they were to replace is whole."""
    for entry in path.iterdir():
        if _HALF_WRITTEN.fullmatch(entry.name):
            with suppress(OSError):
                entry.unlink()


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}-{number}")


def next_free(path: Path) -> Path:
    """`path` when it is free, else `path-2`, `path-3` ..."""
    number = 1
    candidate = path
    while not _is_free(candidate):
        number += 1
        candidate = _numbered(path, number)
    return candidate
