"""Score thresholds a class: chosen on one split to reach a goal, and what they give on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from toolkit.errors import CheckpointError, ConfigError, Problem, Where
from toolkit.labels import IGNORE_INDEX
from toolkit.results.record import Record
from toolkit.results.score_curves import Misses, ScoreCurve, score_curves

ENTRY = "operating_points"
"""Entry of a weights file's metadata, and section of metrics.json."""
_SHOWN = 200
"""Points of a curve that are written down for drawing."""


class Goal(NamedTuple):
    """What a threshold is to reach.

    Args:
        kind: "f1" (the largest), "precision" or "recall" (at least `value`), or "risk" (a guaranteed share of misses).
        value: the share that is asked for, 0..1; without meaning for "f1".
    """

    kind: Literal["f1", "precision", "recall", "risk"]
    value: float = 0.0

    def __str__(self) -> str:
        return self.kind if self.kind == "f1" else f"{self.kind}={self.value:g}"


def parsed_goal(text: str) -> Goal:
    """The goal that "f1", "precision=0.9", "recall=0.9" or "risk=0.1" names. Raises ConfigError for anything else.

    >>> parsed_goal("precision=0.9")
    Goal(kind='precision', value=0.9)
    """
    kind, equals, number = text.partition("=")
    try:
        value = float(number) if equals else 0.0
    except ValueError:
        value = -1.0
    if kind == "f1" and not equals:
        return Goal("f1")
    if kind in ("precision", "recall", "risk") and equals and 0 < value < 1:
        return Goal(kind, value)  # type: ignore[arg-type]
    message = f"wanted f1, precision=P, recall=R or risk=A with a number between 0 and 1, found '{text}'"
    raise ConfigError(Problem("--goal", message, "--goal precision=0.9"))


class Choice(NamedTuple):
    """A threshold, or why there is none.

    Args:
        threshold: the lowest score that counts, 0..1; None where the goal is not reached at any.
        why: for None a sentence: how far it is from the goal.
    """

    threshold: float | None
    why: str = ""


def chosen(curve: ScoreCurve, goal: Goal) -> Choice:
    """The threshold of a class that reaches a goal on these counts.

    f1: the largest F1. precision: of the thresholds that reach it the one that finds most. recall: the highest that
    reaches it. risk: see `guaranteed`. Of equals the highest. A goal that no threshold reaches is not replaced by another.

    Args:
        curve: what each threshold gives on the split of choice.
        goal: what the threshold is to reach there.
    """
    if not curve.truths:
        return Choice(None, "it does not occur in the truth")
    if not len(curve.thresholds):
        return Choice(None, "it was never answered")
    if not curve.right[-1]:
        return Choice(None, "none of its answers is right")
    precision, recall = curve.right / curve.answers, curve.right / curve.truths
    if goal.kind == "f1":
        return Choice(float(curve.thresholds[(2 * curve.right / (curve.answers + curve.truths)).argmax()]))
    if goal.kind == "risk":
        return guaranteed(curve.misses, goal.value)
    reached = (precision if goal.kind == "precision" else recall) >= goal.value
    if not reached.any():
        best = (precision if goal.kind == "precision" else recall).max()
        return Choice(None, f"{goal.kind} {goal.value:g} is never reached, {best:.4f} is the most")
    candidates = np.flatnonzero(reached)
    place = candidates[recall[candidates].argmax()] if goal.kind == "precision" else candidates[0]
    return Choice(float(curve.thresholds[place]))


def guaranteed(misses: Misses, risk: float) -> Choice:
    """The highest threshold whose expected share of misses in a new unit is at most `risk`: conformal risk control.

    With n units and their mean share of misses R(t), the largest t with n / (n + 1) R(t) + 1 / (n + 1) <= risk (Angelopoulos
    et al. 2022, "Conformal Risk Control", equation 4, with B = 1). It holds for units that are exchangeable with those
    it was chosen on: images of the same making, or groups of them.

    Args:
        misses: what is found in each unit, by score.
        risk: the share of misses, 0..1, that is not to be exceeded on average.

    >>> guaranteed(Misses(np.array([0.9, 0.8, 0.6, 0.4]), np.ones(4), 4), 0.4)
    Choice(threshold=0.6, why='')
    """
    count = misses.units
    order = np.argsort(-misses.scores, kind="stable")
    thresholds = misses.scores[order]
    # A threshold takes all of its equals: the bound at the last of them holds.
    missed = np.maximum(count - np.cumsum(misses.shares[order]), 0.0)
    bound = (missed + 1) / (count + 1)
    last = np.append(thresholds[1:] != thresholds[:-1], True)[: len(thresholds)]
    reached = np.flatnonzero(last & (bound <= risk + 1e-12))
    if len(reached):
        return Choice(float(thresholds[reached[0]]))
    least = float(bound.min()) if len(bound) else 1.0
    why = f"no threshold guarantees {risk:g}: with all answers the bound is {least:.4f}"
    if 1 / (count + 1) > risk:
        why += f"; {count} independent images or groups cannot guarantee less than {1 / (count + 1):.4f}"
    return Choice(None, why)


def point_at(curve: ScoreCurve, threshold: float | None) -> dict[str, float | None]:
    """Precision, recall and F1 of a class with a threshold; None where undefined, and for no threshold.

    Args:
        curve: what each threshold gives, on any split.
        threshold: the lowest score that counts, or None.
    """
    if threshold is None:
        return {"precision": None, "recall": None, "f1": None}
    right, answers = curve.at(threshold)
    return {
        "precision": right / answers if answers else None,
        "recall": right / curve.truths if curve.truths else None,
        "f1": 2 * right / (answers + curve.truths) if answers + curve.truths else None,
    }


def operating_points(
    record: Record, goal: Goal, report: Record | None = None, fallback: str | None = None
) -> dict[str, Any]:
    """Thresholds chosen on one record and what they give on another, as the section `operating_points`; {} without scores.

    Args:
        record: the evaluation that thresholds are chosen on.
        goal: what they are to reach.
        report: the evaluation of another split, on which they are measured; None measures on the same, which is too good.
        fallback: name of the class that pixels below their threshold become; it has no threshold, and takes in what other
            classes lose, so that its own precision and recall are not these. None: they become no class.
    """
    curves = score_curves(record)
    if not curves:
        return {}
    choices = [
        Choice(None, "pixels below the thresholds of other classes become it")
        if name == fallback
        else chosen(curve, goal)
        for name, curve in zip(record.classes, curves, strict=True)
    ]
    by_class = {
        name: {"threshold": choice.threshold, "reached": choice.threshold is not None, "why": choice.why,
               "chosen": point_at(curve, choice.threshold)}
        for name, curve, choice in zip(record.classes, curves, choices, strict=True)
    }  # fmt: skip
    section = {"goal": str(goal), "chosen_on": record.about.get("split"), "fallback": fallback, "by_class": by_class}
    return measured(section, record if report is None else report)


def measured(section: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """The section with what its thresholds give on a record, and the curves that they are points of.

    Args:
        section: thresholds of a section `operating_points`, as a checkpoint keeps them.
        record: the evaluation that they are measured on.
    """
    curves = dict(zip(record.classes, score_curves(record), strict=False))
    by_class = {
        name: {**entry, **point_at(curves[name], entry["threshold"])}
        for name, entry in section["by_class"].items()
        if name in curves
    }
    drawn = {name: _drawn(curve, by_class[name]["threshold"]) for name, curve in curves.items() if name in by_class}
    return {**section, "reported_on": record.about.get("split"), "by_class": by_class, "curves": drawn}


def _drawn(curve: ScoreCurve, threshold: float | None) -> dict[str, list[float]]:
    """Some points of a curve, the operating point among them."""
    count = len(curve.thresholds)
    if not count or not curve.truths:
        return {"threshold": [], "precision": [], "recall": []}
    places = set(np.linspace(0, count - 1, min(count, _SHOWN)).astype(int).tolist())
    if threshold is not None:
        places.add(max(0, int(np.searchsorted(-curve.thresholds, -threshold, side="right")) - 1))
    kept = sorted(places)
    return {
        "threshold": curve.thresholds[kept].tolist(),
        "precision": (curve.right[kept] / curve.answers[kept]).tolist(),
        "recall": (curve.right[kept] / curve.truths).tolist(),
    }


class StoredPoints(NamedTuple):
    """Operating points as a weights file keeps them (entry `operating_points` of its metadata).

    Args:
        goal: what they were to reach, as `--goal` says it.
        split: name of the split they were chosen on.
        fallback: name of the class of pixels below their threshold; None for no class. Without meaning for boxes.
        thresholds: lowest score that counts, 0..1, by class; None where the goal was not reached.
        whys: why a class has none, by class.
    """

    goal: str
    split: str
    fallback: str | None
    thresholds: dict[str, float | None]
    whys: dict[str, str]

    def values(self, classes: Sequence[str]) -> list[float]:
        """The lowest score of each class; 0 for a class without a threshold and for the fallback, which nothing falls below."""
        return [0.0 if name == self.fallback else self.thresholds.get(name) or 0.0 for name in classes]

    def label(self, classes: Sequence[str]) -> int:
        """The label of pixels below their threshold."""
        return IGNORE_INDEX if self.fallback is None else list(classes).index(self.fallback)


def stored_points(metadata: Mapping[str, Any], classes: Sequence[str], where: Where) -> StoredPoints | None:
    """The operating points in a weights file's metadata; None without any. Raises CheckpointError for what is none.

    Args:
        metadata: what the file says of itself.
        classes: names of the model's labels 0..K-1.
        where: the file, for the message.
    """
    section = metadata.get(ENTRY)
    if section is None:
        return None
    by_class = section.get("by_class") if isinstance(section, dict) else None
    if (
        not isinstance(by_class, dict)
        or not set(by_class) <= set(classes)
        or section.get("fallback") not in (None, *classes)
        or not all(isinstance(entry, dict) and _is_share(entry.get("threshold")) for entry in by_class.values())
    ):
        message = f"is damaged: its metadata's {ENTRY} should hold a threshold, 0 to 1, or none for each class"
        raise CheckpointError(Problem(where, message, "choose them again with `toolkit thresholds`"))
    return StoredPoints(
        str(section.get("goal")),
        str(section.get("chosen_on")),
        section.get("fallback"),
        {name: entry.get("threshold") for name, entry in by_class.items()},
        {name: str(entry.get("why", "")) for name, entry in by_class.items() if entry.get("threshold") is None},
    )


def _is_share(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1)


def kept(section: Mapping[str, Any]) -> dict[str, Any]:
    """What of a section `operating_points` is kept with the weights: what was chosen, not what it gave elsewhere."""
    entries = {
        name: {key: entry[key] for key in ("threshold", "reached", "why", "chosen")}
        for name, entry in section["by_class"].items()
    }
    return {
        "goal": section["goal"],
        "chosen_on": section["chosen_on"],
        "fallback": section.get("fallback"),
        "by_class": entries,
    }
