"""VIA's JSON (VGG Image Annotator 1 and 2): regions of all images in one file, as outlines.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/; a project (with `_via_img_metadata`) or its exported annotations.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.data.faults.problem_list import ProblemList
from toolkit.data.formats.json_file import read_json
from toolkit.data.formats.outlines import SHAPELESS, Outline, ellipse, rectangle, ring
from toolkit.errors import DataError, Place, Problem, did_you_mean, listed

_WITHOUT_AREA = ("point", "polyline", "line")


class ViaImage(NamedTuple):
    """One image of a VIA file.

    Args:
        filename: name of the image as it is written.
        outlines: its regions that have an area, in the order of the file.
    """

    filename: str
    outlines: tuple[Outline, ...]


def read_via_file(path: Path, problems: ProblemList, attribute: str | None = None) -> list[ViaImage]:
    """The images of a file in its order; regions that are wrong are left out, each with a problem.

    Args:
        path: the JSON file of VIA.
        problems: takes wrong regions, and counts those without area in `tally[SHAPELESS]`.
        attribute: the region's attribute that names its class; None: the only one that regions have. Where no region
            has any, all are called "region".

    Raises:
        DataError: for a file that is not VIA's, and for regions with several attributes of which none is chosen.
    """
    rows = _rows(path, read_json(path))
    regions = [_regions(row) for row in rows]
    chosen = _attribute(path, regions, attribute)
    images = []
    for position, (row, own) in enumerate(zip(rows, regions, strict=True)):
        with problems.about(position):
            found = (_outline(path, row["filename"], place, one, chosen, problems) for place, one in enumerate(own, 1))
            images.append(ViaImage(row["filename"], tuple(one for one in found if one is not None)))
    return images


def _rows(path: Path, content: Any) -> list[dict[str, Any]]:
    table = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    rows = list(table.values()) if isinstance(table, dict) else []
    if rows and all(isinstance(row, dict) and isinstance(row.get("filename"), str) for row in rows):
        return rows
    keys = listed(content, 6) if isinstance(content, dict) else type(content).__name__
    message = f"wanted VIA's JSON, an entry with 'filename' and 'regions' for every image; found {keys}"
    is_third = isinstance(content, dict) and "metadata" in content and "project" in content
    remedy = "this is a project of VIA 3: export it as COCO" if is_third else "export the annotations as JSON in VIA 2"
    raise DataError(Problem(path, message, remedy))


def _regions(row: dict[str, Any]) -> list[dict[str, Any]]:
    found = row.get("regions") or []
    each = (
        list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []
    )  # VIA 1 numbers them
    return [one if isinstance(one, dict) else {} for one in each]


def _attribute(path: Path, regions: list[list[dict[str, Any]]], wanted: str | None) -> str | None:
    """The attribute that names classes; None when no region has any."""
    counts = Counter(name for own in regions for one in own for name in _attributes(one))
    if wanted is not None and wanted not in counts:
        message = f"no region has the attribute '{wanted}'; there are {listed(counts, 10) or 'none'}"
        raise DataError(Problem(path, message, did_you_mean(wanted, counts)))
    if wanted is not None or not counts:
        return wanted
    if len(counts) > 1:
        message = f"its regions have several attributes: {listed(counts, 10)}"
        raise DataError(Problem(path, message, f"say which of them names the class: attribute: {next(iter(counts))}"))
    return next(iter(counts))


def _attributes(region: dict[str, Any]) -> dict[str, Any]:
    found = region.get("region_attributes")
    return found if isinstance(found, dict) else {}


def _outline(
    path: Path, image: str, place: int, region: dict[str, Any], attribute: str | None, problems: ProblemList
) -> Outline | None:
    where = Place(str(path), item=f"region {place} of {image}")
    shape = region.get("shape_attributes")
    kind = shape.get("name") if isinstance(shape, dict) else None
    if kind in _WITHOUT_AREA:
        problems.tally[SHAPELESS] += 1
        return None
    label = _label(region, attribute)
    if label is None:
        value = _attributes(region).get(attribute or "")
        message = f"attribute '{attribute}' is {value!r}, wanted the name of one class"
        problems.add("regions without a class", where, message, "give it one in VIA, or delete it")
        return None
    corners = _corners(kind, shape) if isinstance(shape, dict) else None
    if corners is None:
        message = (
            f"a region of shape '{kind}' without the numbers it needs; known are polygon, rect, circle and ellipse"
        )
        problems.add("regions that are no shape", where, message, "draw it again, or delete it")
        return None
    return Outline(label, (corners,), where=where)


def _label(region: dict[str, Any], attribute: str | None) -> str | None:
    """The class of a region: text, or the one box that is ticked of several ({"car": true})."""
    if attribute is None:
        return "region"
    value = _attributes(region).get(attribute)
    if isinstance(value, dict):
        ticked = [name for name, is_on in value.items() if is_on]
        value = ticked[0] if len(ticked) == 1 else None
    return value.strip() if isinstance(value, str) and value.strip() else None


def _corners(kind: Any, shape: dict[str, Any]) -> np.ndarray | None:
    try:
        if kind == "polygon":
            return ring(list(zip(shape["all_points_x"], shape["all_points_y"], strict=True)))
        names = {
            "rect": ("x", "y", "width", "height"),
            "circle": ("cx", "cy", "r"),
            "ellipse": ("cx", "cy", "rx", "ry"),
        }
        numbers = [float(shape[name]) for name in names[kind]]
        turned = float(shape.get("theta") or 0)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not all(math.isfinite(number) for number in (*numbers, turned)) or min(numbers[2:]) < 0:
        return None
    if kind == "rect":
        x, y, wide, high = numbers
        return rectangle(x, y, x + wide, y + high)
    return ellipse(numbers[0], numbers[1], numbers[2], numbers[-1], turned)
