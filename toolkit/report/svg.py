"""SVG text, element by element, escaped: what a file is called can never become markup."""

from __future__ import annotations

from markupsafe import Markup, escape

Value = str | int | float | None


def element(name: str, *children: str, **attributes: Value) -> Markup:
    """One element of a drawing.

    Args:
        name: name of the tag, `rect` for instance.
        children: text or elements inside it; text is escaped.
        attributes: its attributes; `cls` is class, `_` is `-`, None leaves one out, numbers get at most two decimals.

    >>> element("text", "a < b", x=1.234, cls="small")
    Markup('<text x="1.23" class="small">a &lt; b</text>')
    """
    shown = "".join(
        f' {_attribute(key)}="{escape(_text(value))}"' for key, value in attributes.items() if value is not None
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup(f"<{name}{shown}>{inside}</{name}>")


def group(*children: str, **attributes: Value) -> Markup:
    """Elements that belong together, and share a title or attributes."""
    return element("g", *children, **attributes)


def text(words: str, x: float, y: float, cls: str = "", anchor: str | None = None) -> Markup:
    """Words at a place of the drawing.

    Args:
        words: what is written; it is escaped.
        x: place of the anchor, in pixels from the left.
        y: place of the letters' foot, in pixels from the top.
        cls: class for the style sheet, "" for none.
        anchor: which point of the words stands at x: start (the default), middle or end.
    """
    return element("text", words, x=x, y=y, cls=cls or None, text_anchor=anchor)


def titled(title: str) -> Markup:
    """A title, which a browser shows when the pointer rests on the element around it."""
    return element("title", title)


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> Markup:
    """A straight line from one point to another.

    Args:
        x1: place of its beginning, in pixels from the left.
        y1: place of its beginning, in pixels from the top.
        x2: place of its end, in pixels from the left.
        y2: place of its end, in pixels from the top.
        cls: class for the style sheet, which gives its colour.
    """
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, cls=cls)


def picture(width: float, height: float, label: str, *children: str, cls: str | None = None) -> Markup:
    """The whole drawing.

    Args:
        width: width in pixels, before it is fitted to the page.
        height: height in pixels, before it is fitted to the page.
        label: sentence for those who do not see it.
        children: the elements of the drawing, in painting order.
        cls: None shrinks it with the page to a minimum; `natural` keeps its size; `fit` shrinks it as far as it takes.
    """
    return element(
        "svg", *children, viewBox=f"0 0 {_text(width)} {_text(height)}", width=width, height=height, role="img",
        aria_label=label, cls=cls,
    )  # fmt: skip


def standing_alone(drawing: Markup, style: str) -> Markup:
    """A drawing as a file of its own, which needs the namespace, its style, and a ground of its own.

    >>> standing_alone(picture(8, 8, "nothing"), "")[:46]
    Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBo')
    """
    opening, _, inside = str(drawing).partition(">")
    named = opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    ground = element("rect", width="100%", height="100%", cls="ground")
    font = "svg { font-family: system-ui, sans-serif; }"
    return Markup(f"{named}><style>{style}{font}</style>{ground}{inside}")


def _attribute(key: str) -> str:
    return "class" if key == "cls" else key if key == "viewBox" else key.replace("_", "-")


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
