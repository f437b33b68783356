"""Parts of a model as a config names them: by the beginnings of their parameters' names, whole parts only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from toolkit.errors import ConfigError, Problem, did_you_mean


def begins(name: str, beginning: str) -> bool:
    """Whether `beginning` is the name or a whole part of its front: `backbone.0` begins `backbone.0.weight`.

    >>> begins("backbone.0.weight", "backbone.0"), begins("backbone.01.weight", "backbone.0")
    (True, False)
    """
    return f"{name}.".startswith(f"{beginning}.")


def longest_beginning(name: str, beginnings: Iterable[str]) -> str | None:
    """The longest of the beginnings that a name has, or None."""
    return max((start for start in beginnings if begins(name, start)), key=len, default=None)


def check_beginnings(where: str, beginnings: Iterable[str], names: Sequence[str], what: str = "parameter") -> None:
    """Raises ConfigError, with near names, for each beginning that no name has. where: the key in the config."""
    unknown = [start for start in beginnings if not any(begins(name, start) for name in names)]
    if unknown:
        parts = {name.rpartition(".")[0] for name in names} | {".".join(name.split(".")[:2]) for name in names}
        parts |= {name.split(".")[0] for name in names}
        raise ConfigError(
            Problem(where, f"no {what}'s name begins with '{start}'", did_you_mean(start, parts - {""}))
            for start in unknown
        )
