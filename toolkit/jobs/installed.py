"""What `pip` has installed here, held against what the package asks for: nothing is imported that could fail."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toolkit.errors import Problem
from toolkit.version import package_version

DISTRIBUTION = "toolkit-dense"
"""The name that pip knows the package by."""
OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Distributions that all write into the folder `cv2`."""

Version = Callable[[str], str | None]


def requirements() -> list[Requirement]:
    """Everything that the installed package asks for, extras too; [] where it runs from a folder that pip has not installed."""
    try:
        return [Requirement(line) for line in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        return []


def of_extra(requirement: Requirement, extra: str) -> bool:
    """Whether an extra asks for it on this Python; "" stands for the package itself."""
    if requirement.marker is None:
        return extra == ""
    with_it = requirement.marker.evaluate({"extra": extra})
    return with_it and (extra == "" or not requirement.marker.evaluate({"extra": ""}))


def extras() -> list[str]:
    """Names of the extras, sorted."""
    try:
        return sorted(metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or [])
    except metadata.PackageNotFoundError:
        return []


def lacks(wanted: Iterable[Requirement], version: Version = package_version) -> list[tuple[Requirement, str | None]]:
    """Requirements that are not met, each with the version that is there instead, or None."""
    found = [(one, version(one.name)) for one in wanted]
    return [(one, here) for one, here in found if here is None or not one.specifier.contains(here, prereleases=True)]


def pip_line(wanted: Sequence[Requirement]) -> str:
    """What installs the missing ones.

    >>> pip_line([Requirement("av>=14"), Requirement("numpy>=2.0")])
    "pip install 'av>=14' 'numpy>=2.0'"
    """
    return "pip install " + " ".join(f"'{wanted_as(one)}'" for one in wanted)


def wanted_as(requirement: Requirement) -> str:
    """A package as pip is asked for it, without the marker that says of which extra it is.

    >>> wanted_as(Requirement('ray[data]>=2.40; extra == "ray"'))
    'ray[data]>=2.40'
    """
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def package_problems(wanted: Iterable[Requirement], version: Version = package_version) -> list[Problem]:
    """What is missing, too old, too new or there twice of the packages that nothing works without.

    Args:
        wanted: requirements of the package itself.
        version: tells the installed version by the distribution's name.
    """
    missing = lacks(wanted, version)
    problems = [
        Problem(one.name, f"wanted {one.specifier or 'any version'}, found {here or 'none'}", pip_line([one]))
        for one, here in missing
        if canonicalize_name(one.name) not in OPENCV or not _another_opencv(one, version)
    ]
    twice = [name for name in OPENCV if version(name) is not None]
    if len(twice) > 1:
        message = (
            f"{' and '.join(twice)} are both installed: they write the same folder cv2, and the last one wins in part"
        )
        remedy = f"pip uninstall -y {' '.join(twice)} && pip install 'opencv-python-headless>=4.10.0.84'"
        problems.append(Problem("opencv", message, remedy))
    return problems


def _another_opencv(wanted: Requirement, version: Version) -> bool:
    """Whether another build of OpenCV, with windows or extra modules, serves in the place of the wanted one."""
    others = [version(name) for name in OPENCV if name != wanted.name]
    return any(here is not None and wanted.specifier.contains(here) for here in others)


def python_problems(version: str | None = None) -> list[Problem]:
    """Whether this Python is one that the package is made for. version: as "3.11.7"; None is the one that runs."""
    here = version or platform.python_version()
    try:
        wanted = "".join(metadata.metadata(DISTRIBUTION).get_all("Requires-Python") or [])
    except metadata.PackageNotFoundError:
        message = "runs from a folder that pip has not installed, so what it asks for is not known"
        return [Problem(DISTRIBUTION, message, "pip install -e . in that folder")]
    if wanted and not Requirement(f"python{wanted}").specifier.contains(here):
        return [Problem("python", f"wanted {wanted}, found {here}", "make a virtual environment of one of these")]
    return []
