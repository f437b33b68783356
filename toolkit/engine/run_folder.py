"""The folder of one run: its files, and the rule that no run overwrites another or writes into one that is at work.

Files appear by rename, whole or not.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from toolkit.engine.run_lock import LOCK_FILE, RunLock, is_locked, lock_folder
from toolkit.errors import ConfigError, Problem, missing_path
from toolkit.files import cannot_write, replacing

NONFINITE_FILE = "nonfinite_batch.state"
"""A batch whose loss was not finite (`engine/replay.py`)."""
_BEFORE_THE_FIRST_SAVE = ("config.yaml", "environment.json", "data.json", "skipped.json", "metrics.jsonl", "train.log")
_LISTS = tuple(f"splits/{name}" for name in ("train.txt", "val.txt", "test.txt", "splits.csv"))
_MAY_STAY = re.compile(
    rf"(rank\d+_)?{re.escape(NONFINITE_FILE)}|splits|loggers\.json|tensorboard|wandb|mlflow|{re.escape(LOCK_FILE)}"
)
_HALF_WRITTEN = re.compile(
    r"\.(?:config\.yaml|environment\.json|data\.json|skipped\.json|metrics\.jsonl|last\.state|(?:last|best)\.safetensors)\.\d+\.tmp"
    r"|\.writable|\.tmp\w{6}"  # the last kind is the safetensors library's own
)


class RunFolder:
    """Paths of a run's files (see the names below), how they are written, and whose they are: a context ends the lock.

    Args:
        path: path of the folder, which has to be there before anything is written.
        lock: that of the one process that writes, or None in the others and for folders that nobody else knows.
    """

    def __init__(self, path: Path, lock: RunLock | None = None) -> None:
        self.path, self.lock = path, lock
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.data = path / "data.json"
        self.skipped = path / "skipped.json"
        self.splits = path / "splits"
        self.metrics = path / "metrics.jsonl"
        self.log = path / "train.log"
        self.last = path / "last.safetensors"
        self.best = path / "best.safetensors"
        self.state = path / "last.state"

    @staticmethod
    def fresh(path: Path, *, exact: bool, lock: RunLock | None = None) -> RunFolder:
        """A new, empty folder, locked. A used name gets a number, or, with `exact`, is refused.

        Args:
            path: path of the folder that is wanted; its parents are made.
            exact: whether no other name will do.
            lock: that of the folder, where this process has it already.

        Raises ConfigError for a used name and a folder that a training is at work in, UserError when it cannot be made.
        """
        chosen = path if exact else next_free(path)
        try:
            if not _is_unused(chosen):
                if (chosen / LOCK_FILE).exists():
                    lock_folder(chosen).release()  # or says who is at work there
                message = "is a file" if chosen.is_file() else "is not empty, and a run never overwrites another"
                remedy = f"continue it with --resume, or start anew with --run {next_free(chosen)}"
                raise ConfigError(Problem(chosen, message, remedy))
            chosen.mkdir(parents=True, exist_ok=True)
            folder = RunFolder(chosen, lock or lock_folder(chosen))
            _remove_leftovers(chosen)
            for leftover in (*_BEFORE_THE_FIRST_SAVE, *_LISTS):
                (chosen / leftover).unlink(missing_ok=True)
            probe = chosen / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise cannot_write(chosen, error) from error
        except ConfigError:
            if exact or not is_locked(chosen):
                raise
            return RunFolder.fresh(path, exact=False)  # another training has begun there this very moment
        return folder

    @staticmethod
    def to_continue(path: Path, *, exact: bool, locked: bool = True) -> RunFolder:
        """The folder of a run to continue: `path`, or, unless `exact`, its newest numbered sibling.

        Its run may have ended before it saved anything; the folder is then as a fresh one. What a kill left half
        written is removed.

        Args:
            path: folder of the run, as the user gave it.
            exact: whether no numbered sibling will do.
            locked: whether this process locks it: one of those that train together does.

        Raises ConfigError for a folder that is missing, is not a run's, or that a training is at work in.
        """
        siblings = [] if exact else [numbered for n in range(2, 10_000) if (numbered := _numbered(path, n)).exists()]
        chosen = (siblings or [path])[-1]
        if not chosen.exists():
            raise ConfigError(missing_path("run folder", chosen, "--resume", "start it without --resume"))
        folder = RunFolder(chosen)
        if not folder.state.is_file() and not _is_unused(chosen):
            message = f"{chosen} holds no last.state to continue from, and is not the folder of a run that never saved"
            remedy = "start without --resume in another folder; model.init_from starts from weights"
            raise ConfigError(Problem("--resume", message, remedy))
        if locked:
            folder.lock = lock_folder(chosen)
            _remove_leftovers(chosen)
        return folder

    def check_lock(self) -> None:
        """Raises UserError when another process has taken the folder in the meantime."""
        if self.lock is not None:
            self.lock.check()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the lock: the work in the folder is over."""
        if self.lock is not None:
            self.lock.release()

    def write_text(self, path: Path, text: str) -> None:
        """Writes a text file as UTF-8 that appears whole or not at all."""
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")

    def write_json(self, path: Path, value: Any) -> None:
        """Writes a value as indented JSON into a file that appears whole or not at all."""
        self.write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def fresh_for_all(fabric: Any, wanted: RunFolder, *, exact: bool) -> RunFolder:
    """A fresh folder, made and locked by the first of several processes, known to all; see `RunFolder.fresh`.

    Args:
        fabric: the processes, of which the first makes the folder.
        wanted: the folder that was asked for.
        exact: whether another number is no answer when it is used.
    """
    made = RunFolder.fresh(wanted.path, exact=exact, lock=wanted.lock) if fabric.is_global_zero else None
    path = Path(fabric.broadcast(str(made.path) if made is not None else None))
    return made or RunFolder(path)


def _is_unused(path: Path) -> bool:
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
    """`path` when it is unused and nobody is at work there, else `path-2`, `path-3` ..."""
    number = 1
    candidate = path
    while not _is_unused(candidate) or is_locked(candidate):
        number += 1
        candidate = _numbered(path, number)
    return candidate
