"""Under which licence each package comes that the toolkit brings along: what pip knows of it, sorted into kinds."""

from __future__ import annotations

import re
from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toolkit.jobs.installed import DISTRIBUTION

# Words of a licence's name by kind; the first kind with a word in the text is taken, so the strictest stands first.
_KINDS = (
    ("copyleft", r"\bA?GPL|\bLGPL|GNU|\bEUPL|\bSSPL|CC-BY-(?:NC|SA)"),
    ("vendor", r"proprietary|NVIDIA"),
    ("weak copyleft", r"\bMPL|Mozilla"),
    (
        "permissive",
        r"\bMIT|\bBSD|FreeBSD|Apache|\bISC\b|PSF|Python Software Foundation|Zlib|0BSD|CC0|BSL-1|HPND|Unlicense",
    ),
    ("permissive", r"Redistribution and use in source and binary forms|terms of the Modified BSD|Kiwi licensing"),
)


class Licence(NamedTuple):
    """A package and its licence.

    Args:
        package: the distribution's name, as pip knows it.
        version: the one that is installed; "" where it is not.
        licence: its name as the package states it; "not stated" where it does not.
        kind: permissive; weak copyleft (MPL: changes of its own files only); vendor (NVIDIA's terms, which come with
            PyTorch's CUDA build alone); copyleft; unknown.
    """

    package: str
    version: str
    licence: str
    kind: str


def licences(root: str = DISTRIBUTION, extra: str = "") -> list[Licence]:
    """The licence of a package and of all that it asks for on this machine, and they in turn; by name.

    Args:
        root: a distribution's name, as pip knows it.
        extra: an extra of it that is counted too.
    """
    return [licence_of(name) for name in sorted(_closure(root, extra))]


def _closure(root: str, extra: str) -> set[str]:
    found: set[str] = set()
    waiting = [(root, extra)]
    while waiting:
        name, wish = waiting.pop()
        if canonicalize_name(name) in found:
            continue
        found.add(canonicalize_name(name))
        try:
            wanted = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue
        for one in wanted:
            asked = {"", wish}
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in asked):
                waiting += [(one.name, extra) for extra in (one.extras or {""})]
    return found


def licence_of(package: str) -> Licence:
    """What an installed package says of its licence: the expression, else the classifiers, else the text."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return Licence(package, "", "not installed", "unknown")
    expression = next(iter(about.get_all("License-Expression") or []), "")
    classifiers = [line.split("::")[-1].strip() for line in about.get_all("Classifier") or [] if "License ::" in line]
    text = next(iter(about.get_all("License") or []), "")
    stated = expression or ", ".join(name for name in classifiers if name != "OSI Approved") or text.strip()
    short = stated.splitlines()[0].strip(" =") if stated else ""
    return Licence(package, metadata.version(package), short or "not stated", kind_of(stated or text, package))


def kind_of(text: str, package: str = "") -> str:
    """The kind of a licence by its name or text.

    >>> kind_of("BSD-3-Clause"), kind_of("AGPL-3.0-only"), kind_of("MPL-2.0 AND MIT"), kind_of("see LICENSE")
    ('permissive', 'copyleft', 'weak copyleft', 'unknown')
    """
    if package.startswith(("nvidia-", "cuda-toolkit")):
        return "vendor"
    return next((kind for kind, words in _KINDS if re.search(words, text, re.IGNORECASE)), "unknown")
