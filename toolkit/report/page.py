"""Pages of one file: style, drawings and pictures inside, nothing fetched, everything from outside escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from toolkit.errors import Problem, UserError
from toolkit.files import replacing
from toolkit.report import quantities
from toolkit.report.svg import standing_alone
from toolkit.version import __version__

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The text of a page. template: a file in `templates/`. values: text is escaped; drawings come as `Markup`."""
    import jinja2  # slow to import, and pages are seldom asked for

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        short=quantities.short, bytes=quantities.bytes_of, percent=quantities.percent, thousands=_thousands
    )
    return environment.get_template(template).render(version=__version__, **values)


def write_page(path: str | Path, text: str, never_in: Iterable[str | Path] = ()) -> Path:
    """Writes a page by rename, making its folder. Raises UserError when it cannot be written there.

    Args:
        path: path of the HTML file, replaced if it stands there.
        text: the whole page as HTML.
        never_in: folders of the user's data, into which nothing is ever written.
    """
    path = Path(path)
    refuse_place(path, never_in)
    with replacing(path, durable=False) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_drawing(path: str | Path, drawing: Markup) -> Path:
    """Writes one drawing as an SVG file with the pages' style inside, by rename. Raises UserError when it cannot."""
    path = Path(path)
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    with replacing(path, durable=False) as temporary:
        temporary.write_text(standing_alone(drawing, style), encoding="utf-8")
    return path


def refuse_place(path: str | Path, never_in: Iterable[str | Path] = ()) -> None:
    """Raises UserError for a file that is a folder, or would lie in one of the folders of the user's data."""
    path = Path(path)
    if path.is_dir():
        raise UserError(Problem(path, "is a folder; a page or picture is a file", f"name a file in {path}"))
    for folder in never_in:
        if Path(folder).resolve() in path.resolve().parents:
            message = f"lies in the data folder {Path(folder).absolute()}, into which nothing is written"
            raise UserError(Problem(path.absolute(), message, "choose another place"))


def picture_data(image: np.ndarray, *, exact: bool = False) -> str:
    """An RGB (H, W, 3) uint8 picture as a data URI: JPEG, or PNG when `exact` (label maps, drawings)."""
    kind, options = (".png", []) if exact else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 82])
    _, encoded = cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    mime = "png" if exact else "jpeg"
    return f"data:image/{mime};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def _thousands(number: int) -> str:
    return f"{number:,}"
