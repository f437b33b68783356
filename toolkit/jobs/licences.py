"""Under which licence each package comes that the toolkit brings along: what it states, and what its wheel carries inside."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
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

# Libraries that wheels carry compiled, and what their own authors ask for. Those of GCC (gomp, gfortran, quadmath) are left
# out: their exception lets a program of any licence use them.
_CARRIED = {
    "x264": "GPL-2.0-or-later", "x265": "GPL-2.0-or-later",
    "avcodec": "LGPL-2.1-or-later", "opencv_videoio_ffmpeg": "LGPL-2.1-or-later",
    "heif": "LGPL-3.0-or-later", "de265": "LGPL-3.0-or-later",
    "geos": "LGPL-2.1-or-later", "gnutls": "LGPL-2.1-or-later", "mp3lame": "LGPL-2.0-or-later",
    "nettle": "LGPL-3.0-or-later", "gmp": "LGPL-3.0-or-later", "unistring": "LGPL-3.0-or-later",
}  # fmt: skip
_LIBRARY = re.compile(rf"(?:lib)?({'|'.join(_CARRIED)})\d*[._-](?:.*[.-])?(?:so|dll|dylib)\b")


class Licence(NamedTuple):
    """A package and its licence.

    Args:
        package: the distribution's name, as pip knows it.
        version: the one that is installed; "" where it is not.
        licence: its name as the package states it; "not stated" where it does not.
        kind: permissive; weak copyleft (MPL: changes of its own files only); vendor (NVIDIA's terms, which come with
            PyTorch's CUDA build alone); copyleft; unknown.
        carries: copyleft libraries that its installed files hold, such as "x265, GPL-2.0-or-later". Only those that
            this module knows by name are found; what a package states of itself says nothing of them.
    """

    package: str
    version: str
    licence: str
    kind: str
    carries: tuple[str, ...] = ()


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


@functools.cache
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
    kind, files = kind_of(stated or text, package), metadata.files(package) or []
    return Licence(
        package, metadata.version(package), short or "not stated", kind, carried([one.name for one in files])
    )


def carried(files: Iterable[str]) -> tuple[str, ...]:
    """Copyleft libraries among the names of files, with their licences, sorted.

    >>> carried(["libx265-4883ecb5.so.217", "avcodec-60.dll", "libavcodec.60.dylib", "libjpeg.so.8", "x264.py"])
    ('avcodec, LGPL-2.1-or-later', 'x265, GPL-2.0-or-later')
    """
    found = (_LIBRARY.match(one) for one in files)
    return tuple(sorted({f"{one[1]}, {_CARRIED[one[1]]}" for one in found if one}))


def kind_of(text: str, package: str = "") -> str:
    """The kind of a licence by its name or text.

    >>> kind_of("BSD-3-Clause"), kind_of("AGPL-3.0-only"), kind_of("MPL-2.0 AND MIT"), kind_of("see LICENSE")
    ('permissive', 'copyleft', 'weak copyleft', 'unknown')
    """
    if package.startswith(("nvidia-", "cuda-toolkit")):
        return "vendor"
    return next((kind for kind, words in _KINDS if re.search(words, text, re.IGNORECASE)), "unknown")
