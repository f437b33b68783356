"""What a run says: one object an event in `metrics.jsonl`, readable lines in `train.log` and on the terminal."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.engine.loggers import Logger
from toolkit.files import cannot_write, replacing
from toolkit.printing import printable


class RunLog:
    """Writes events and lines. `loggers` are other places that events go to.

    A logger that fails is left out from then on, and said so: the training goes on, and `metrics.jsonl` has everything.

    Args:
        metrics: file of events, one JSON object a line; None writes none.
        text: file of the lines for people; None writes none.
        shown: whether this process writes at all: False in all but the first.
        quiet: whether the terminal is spared the lines; the file has them all the same.
    """

    def __init__(self, metrics: Path | None, text: Path | None, *, shown: bool = True, quiet: bool = False) -> None:
        self.metrics = metrics if shown else None
        self.text = text if shown else None
        self.shown, self.quiet = shown, quiet
        self.loggers: list[Logger] = []

    def keep_until(self, step: int, evaluated: int) -> None:
        """Drops events after `step`, evaluations after `evaluated`, and a half-written last line.

        A resumed run repeats them.
        """
        if self.metrics is None or not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict) and event.get("step", 0) <= (evaluated if _is_evaluation(event) else step):
                kept.append(line)
        with replacing(self.metrics) as part:
            part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        for line in kept:
            event = json.loads(line)
            if event.get("step") == step:  # the step from which loggers begin anew
                self._send(event)

    def event(self, **values: Any) -> None:
        """Appends one event, named numbers of a step, as a JSON object on a line of `metrics.jsonl`."""
        if self.metrics is not None:
            self._append(self.metrics, json.dumps(values, ensure_ascii=False))
        self._send(values)

    @contextmanager
    def sending(self, loggers: Sequence[Logger]) -> Iterator[None]:
        """Within, events also go to these; they learn at the end whether it came without an error."""
        self.loggers = [*loggers]
        finished = False
        try:
            yield
            finished = True
        finally:
            for logger in [*self.loggers]:
                self._guarded(logger, lambda logger=logger: logger.close(finished=finished))  # type: ignore[misc]

    def _send(self, event: dict[str, Any]) -> None:
        step, numbers = event.get("step"), {k: v for k, v in event.items() if k != "step" and type(v) in (int, float)}
        for logger in [*self.loggers] if step is not None else []:
            self._guarded(logger, lambda logger=logger: logger.log(step, numbers))  # type: ignore[misc]

    def _guarded(self, logger: Logger, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a foreign library's network or disk must not end a training
            self.loggers.remove(logger)
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            self.line(f"note       {type(logger).__name__} failed and is left out from here on: {reason}")

    def line(self, text: str) -> None:
        """A line for people, to the terminal (stderr) and the log file."""
        if not self.shown:
            return
        text = printable(text)
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        if self.text is not None:
            self._append(self.text, text)

    @staticmethod
    def _append(path: Path, line: str) -> None:
        data = (line + "\n").encode()
        try:
            with path.open("ab", buffering=0) as file:
                before = file.tell()
                # One write call, so that a kill cannot leave half a line in the middle of the file.
                written = file.write(data) or 0
                if written < len(data):  # a disk that fills up takes a part
                    file.truncate(before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise cannot_write(path, error) from error


def _is_evaluation(event: dict[str, Any]) -> bool:
    return any(name.startswith("val/") for name in event)


def _shown(cells: list[str]) -> list[str]:
    return [printable(cell) for cell in cells]


def table(title: str, header: list[str], rows: list[list[str]]) -> str:
    """A plain text table: first column to the left, the others to the right.

    Args:
        title: line above the table, or "" for none.
        header: words above the columns, one a column.
        rows: cells as text, as many in each row as the header has.
    """
    title, header, rows = printable(title), _shown(header), [_shown(row) for row in rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: list[str]) -> str:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *rest]).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([*([title] if title else []), line(header), rule, *(line(row) for row in rows)])
