"""Which layout a folder has: every recogniser is asked, what one saw better than another goes first, and doubt is told."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.data.images.formats import OTHER_IMAGES
from toolkit.data.layouts.candidate import RECOGNISERS, Candidate, Task
from toolkit.data.layouts.tree import ARCHIVES, Tree
from toolkit.errors import ConfigError, DataError, Problem, listed

SURE = 0.5
"""Confidence below which a candidate is only told of."""

_ANNOTATIONS = (".xml", ".json", ".txt", ".csv")


def recognise(tree: Tree) -> list[Candidate]:
    """All readings of a folder, the surest first; of two readings of the same annotation for one task, the surer one.

    Folders of classes are one only where no annotation is found: any pictures in several folders look like them.
    """
    found = [one for function in RECOGNISERS for one in function(tree)]
    ranked = sorted(found, key=lambda one: (-one.confidence, one.layout, one.root, sorted(one.annotations)))
    kept: list[Candidate] = []
    for one in ranked:
        if not any(one.task == other.task and one.annotations & other.annotations for other in kept):
            kept.append(one)
    annotated = [one for one in kept if one.task != "classification" and one.confidence >= SURE]
    return annotated if annotated and any(one.task == "classification" for one in kept) else kept


def key_of(candidate: Candidate, others: Sequence[Candidate]) -> str:
    """What `--layout` takes for a candidate: its layout, with its annotation where others have the same layout."""
    twins = [one for one in others if one.layout == candidate.layout and one.annotations != candidate.annotations]
    return candidate.layout + (f":{min(candidate.annotations)}" if twins else "")


def matching(tree: Tree, candidates: Sequence[Candidate], task: Task | None, layout: str | None) -> list[Candidate]:
    """The candidates that may be meant, at least one.

    Args:
        tree: what lies in the folder, for messages.
        candidates: all readings, the surest first.
        task: what is to be learned; None for any.
        layout: name of a layout, perhaps with an annotation (`masks-flat:masks`); None for any.

    Raises:
        ConfigError: no candidate has that task or layout.
        DataError: nothing in the folder is understood.
    """
    sure = [one for one in candidates if one.confidence >= SURE or layout is not None]
    if not sure:
        raise DataError(_not_understood(tree, candidates))
    keys = sorted({key_of(one, candidates) for one in candidates})
    if layout is not None:
        wanted = [one for one in sure if layout in (one.layout, key_of(one, candidates))]
        if not wanted:
            message = f"nothing here has the layout '{layout}'"
            raise ConfigError(Problem("--layout", message, f"found: {', '.join(keys)}"))
        sure = wanted
    if task is not None:
        wanted = [one for one in sure if one.task == task]
        if not wanted:
            tasks = ", ".join(sorted({f"{one.task} ({key_of(one, candidates)})" for one in sure}))
            raise ConfigError(Problem("--task", f"nothing here is for {task}", f"found: {tasks}"))
        sure = wanted
    return sure


def refuse_doubt(candidates: Sequence[Candidate], every: Sequence[Candidate]) -> Candidate:
    """The one reading that is left. Raises ConfigError, with all of them, where several annotations fit.

    Args:
        candidates: readings that may be meant, the surest first.
        every: all readings of the folder, by which layouts get their names.
    """
    first = candidates[0]
    rivals = [one for one in candidates if not one.annotations & first.annotations]
    if not rivals:
        return first
    told = []
    for one in [first, *rivals]:
        served = " or ".join(o.task for o in candidates if o.annotations == one.annotations)
        line = f"  --layout {key_of(one, every)}  ({served}, {one.confidence:.0%}): {one.evidence[0]}"
        told += [line] if line not in told else []
    message = "several layouts fit what lies here:\n" + "\n".join(told)
    tasks = {one.task for one in candidates}
    remedy = "say which is meant with --layout NAME" + (", or --task" if len(tasks) > 1 else "")
    raise ConfigError(Problem("FOLDER", message, remedy))


def _not_understood(tree: Tree, candidates: Sequence[Candidate]) -> Problem:
    """Why nothing was found, and what to do."""
    pictures = sum(map(len, tree.pictures.values()))
    annotations = {kind: count for kind, count in tree.kinds.items() if kind in _ANNOTATIONS}
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(annotations.items(), key=lambda item: -item[1]))
    if candidates:
        best = candidates[0]
        message = f"looks like {best.layout}, but only {best.confidence:.0%} fits: {'; '.join(best.evidence)}"
        return Problem(tree.root, message, "put the pictures and their annotation into one folder, names unchanged")
    if not pictures:
        unread = {kind: count for kind, count in tree.kinds.items() if kind in OTHER_IMAGES}
        packed = {kind: count for kind, count in tree.kinds.items() if kind in ARCHIVES}
        if unread:
            what = ", ".join(f"{count} {kind}" for kind, count in unread.items())
            return Problem(
                tree.root, f"holds pictures of kinds that are not read: {what}", "convert them to PNG or JPEG"
            )
        held = f"annotations ({kinds})" if annotations else f"{tree.number} files ({listed(sorted(tree.kinds))})"
        remedy = "unpack the archive there" if packed else "put the pictures that they belong to into the folder"
        return Problem(tree.root, f"holds {held} and no pictures", remedy)
    if not annotations or set(annotations) <= {".txt", ".csv"}:
        message = f"holds {pictures} pictures, and no annotation that belongs to them"
        remedy = "label them with a tool (CVAT, LabelMe, Label Studio), or put the annotation into the folder; "
        return Problem(tree.root, message, remedy + "toolkit predict labels pictures with a trained model")
    message = f"holds {pictures} pictures and annotations ({kinds}), but no known layout joins them"
    return Problem(
        tree.root,
        message,
        "the layouts that are known stand in docs/guide/layouts.md; `toolkit list datasets` has those that a config can name",
    )
