"""Limits of detections that an exported file has inside: what can still be asked of it, and what cannot."""

from __future__ import annotations

import logging
from pathlib import Path

from toolkit.contracts import Head
from toolkit.errors import ConfigError, Problem
from toolkit.samples import Detections

log = logging.getLogger(__name__)


class ProgramLimits:
    """Takes the place of a head's `limit_detections`, and cuts what the program answers.

    Fewer boxes, or those of higher scores, are a part of what the program answers; boxes of lower scores and another
    suppression are not.

    Args:
        head: the head of the model that was exported.
        path: the exported file, as messages name it.
    """

    def __init__(self, head: Head, path: Path) -> None:
        self._head, self._path = head, path
        self._own, self._change = head.detection_limits, head.limit_detections
        self._most = head.max_detections or 0
        self._told = False
        head.limit_detections = self.limit  # type: ignore[method-assign]

    def limit(self, score: float | None = None, count: int | None = None, nms_iou: float | None = None) -> None:
        """See `Head.limit_detections`. Raises ConfigError for a lower score, or another overlap, than is in the file.

        Args:
            score: detections down to this probability, 0..1, are asked for.
            count: the most detections of an image that are asked for.
            nms_iou: overlap, 0..1, above which the worse of two boxes of a class goes.
        """
        own, problems = self._own, []
        if own is None and (score is not None or nms_iou is not None):
            problems.append(self._refused("score or overlap", "this head does not say which are inside", "KEY=VALUE"))
        if own is not None and score is not None and score < own.score:
            why = f"{score:g} is below the file's own, {own.score:g}"
            problems.append(self._refused("score", why, f"model.head.test.score={score:g}"))
        if own is not None and nms_iou is not None and nms_iou != own.nms_iou:
            why = f"{nms_iou:g} is not the file's own, {own.nms_iou:g}"
            problems.append(self._refused("iou", why, f"model.head.test.nms_iou={nms_iou:g}"))
        if problems:
            raise ConfigError(problems)
        self._change(count=count)

    def _refused(self, option: str, why: str, key: str) -> Problem:
        message = f"{option} {why}, and what suppresses boxes is inside {self._path.name}"
        return Problem(f"--{option}", message, f"predict with the checkpoint, or export it with {key}")

    def cut(self, found: Detections) -> Detections:
        """The best of a picture's detections, as many as are asked for; says once where the file may have had more."""
        wanted = self._head.max_detections or 0
        number = len(found.scores)
        if number >= self._most and wanted > self._most and not self._told:
            self._told = True
            log.warning(
                "%s answers at most %d boxes of a picture or tile, and found as many here: there may be more; export the "
                "checkpoint with model.head.test.per_image=NUMBER", self._path.name, self._most,
            )  # fmt: skip
        if number <= wanted:
            return found
        return Detections(found.boxes[:wanted], found.scores[:wanted], found.labels[:wanted])
