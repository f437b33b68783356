"""The learning curve of a study as SVG: a point a run, the fitted line, its band, and twice the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from toolkit.report.charts import Frame
from toolkit.report.svg import element, picture, text, titled


def learning_curve_chart(curve: Mapping[str, Any], points: Sequence[tuple[int, float]], metric: str) -> Markup:
    """A metric over the number of training images, both measured and fitted.

    Args:
        curve: what `results.studies.learning_curve` found, with a band.
        points: (training images, value) of each run.
        metric: name of the metric for the axis.
    """
    frame = Frame(720, 360, 62, 24, 22, 46)
    band = curve["band"]
    ends = [value for row in band for value in (row["low"], row["high"], row["value"]) if value is not None]
    ends = [*ends, *(value for _, value in points)]
    most = max(ends)
    top = min(1.0, 1.1 * most) if most <= 1 else 1.1 * most
    first, span = math.log2(band[0]["images"]), math.log2(band[-1]["images"] / band[0]["images"]) or 1.0

    def place(images: float, value: float) -> str:
        x = frame.x((math.log2(images) - first) / span)
        return f"{x:.1f},{frame.y(min(max(value / top, 0.0), 1.0)):.1f}"

    drawn: list[Markup] = [*frame.grid(top, 5), frame.foot("training images"), text(metric, 8, 14, "small muted")]
    for row in band:
        x = frame.x((math.log2(row["images"]) - first) / span)
        drawn.append(text(f"{row['images']:,}", x, frame.y(0) + 17, "small muted", "middle"))
    if all(row["low"] is not None for row in band):
        edge = [place(row["images"], row["high"]) for row in band]
        edge += [place(row["images"], row["low"]) for row in reversed(band)]
        drawn.append(element("polygon", titled(curve["how"]), points=" ".join(edge), cls="band"))
    line = " ".join(place(row["images"], row["value"]) for row in band)
    drawn.append(element("polyline", titled("fitted power law"), points=line, cls="curve strong"))
    for images, value in points:
        across, down = place(images, value).split(",")
        drawn.append(element("circle", titled(f"{images:,} images: {value:.4g}"), cx=across, cy=down, r=4, cls="bar"))
    return picture(frame.width, frame.height, f"{metric} by the number of training images", *drawn, cls="fit")
