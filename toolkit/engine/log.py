"""What a run says: one object an event in `metrics.jsonl`, readable lines in `train.log` and on the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from toolkit.files import cannot_write, replacing


class RunLog:
    """Writes events and lines; `shown` is False in all processes but the first, which then write nothing.

    metrics, text: files of the run folder; None writes no file.
    """

    def __init__(self, metrics: Path | None, text: Path | None, *, shown: bool = True, quiet: bool = False) -> None:
        self.metrics = metrics if shown else None
        self.text = text if shown else None
        self.shown, self.quiet = shown, quiet

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

    def event(self, **values: Any) -> None:
        """Appends one JSON object."""
        if self.metrics is not None:
            self._append(self.metrics, json.dumps(values, ensure_ascii=False))

    def line(self, text: str) -> None:
        """A line for people, to the terminal (stderr) and the log file."""
        if not self.shown:
            return
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        if self.text is not None:
            self._append(self.text, text)

    @staticmethod
    def _append(path: Path, line: str) -> None:
        try:
            # One write call, so that a kill cannot leave half a line in the middle of the file.
            with path.open("ab", buffering=0) as file:
                file.write((line + "\n").encode())
        except OSError as error:
            raise cannot_write(path, error) from error


def _is_evaluation(event: dict[str, Any]) -> bool:
    return any(name.startswith("val/") for name in event)


def table(title: str, header: list[str], rows: list[list[str]]) -> str:
    """A plain text table: first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: list[str]) -> str:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *rest]).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([*([title] if title else []), line(header), rule, *(line(row) for row in rows)])
