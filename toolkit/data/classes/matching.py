"""A data set's own category names against the class list of the config: by name, and never in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.errors import DataError, Problem, Where, did_you_mean


def match_names(
    found: Sequence[str],
    wanted: Sequence[str] | None,
    where: Where,
    complete: bool = True,
    places: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """The classes in label order: `wanted`, or `found` when that is None.

    Raises DataError with all differences.

    Args:
        found: names the data set knows, without repetition.
        wanted: names the user gives, in the order of the labels, or None.
        where: file or key that messages begin with.
        complete: whether `found` is a full table; if not (names seen in annotations), a wanted class may be missing
            from it.
        places: where a found name stands and how often, in words, for the message.

    >>> match_names(["car", "road"], ["road", "car"], "classes")
    ('road', 'car')
    """
    if wanted is None:
        return tuple(found)
    problems = [
        Problem(
            where,
            f"class '{name}' of the data is not in the list of classes{_place(name, places)}",
            did_you_mean(name, wanted),
        )
        for name in found
        if name not in wanted
    ]
    if complete:
        problems += [
            Problem(where, f"class '{name}' of the list is not in the data", did_you_mean(name, found))
            for name in wanted
            if name not in found
        ]
    if problems:
        lists = f"the data has {_listed(found)}; the list has {_listed(wanted)}"
        remedy = f"the two must name the same classes, in any order; to use some only: data.classes: {_choice(found, wanted)}"
        raise DataError([*problems, Problem(where, lists, remedy)])
    return tuple(wanted)


def _choice(found: Sequence[str], wanted: Sequence[str]) -> str:
    """A choice of classes as a config writes it: those that both have, the others ignored."""
    kept = [name for name in wanted if name in found][:4] or list(wanted[:1])
    others = [name for name in found if name not in wanted][:4]
    entries = [*(f"{name}: [{name}]" for name in kept), *([f"ignore: [{', '.join(others)}]"] if others else [])]
    return f"{{{', '.join(entries)}}} (what no entry names is background)"


def _place(name: str, places: Mapping[str, str] | None) -> str:
    return f": {places[name]}" if places and name in places else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:20])
    return f"{len(names)} classes ({shown}{', ...' if len(names) > 20 else ''})"
