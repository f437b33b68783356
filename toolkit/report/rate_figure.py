"""The curve of a learning-rate range test: as a picture, and as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from toolkit.files import replacing


def rate_picture(rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], best: float | None,
                 path: Path) -> Path:  # fmt: skip
    """Writes a PNG: loss over learning rate (logarithmic), the suggestion as a line; returns its path."""
    from matplotlib.figure import Figure  # slow third party

    figure = Figure(figsize=(7, 4.2), dpi=120)
    axes = figure.add_subplot()
    axes.plot(rates, losses, color="#b9c4d0", linewidth=1, label="loss of each step")
    axes.plot(rates, smoothed, color="#1f5f99", linewidth=2, label="smoothed")
    if best is not None:
        axes.axvline(best, color="#c0392b", linestyle="--", label=f"suggestion {best:.1e}")
    if smoothed:
        axes.set_ylim(0.9 * min(smoothed), 1.6 * smoothed[0])
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    with replacing(path) as part:
        figure.savefig(part, format="png")
    return path


def rate_lines(rates: Sequence[float], smoothed: Sequence[float], best: float | None, width: int = 44) -> list[str]:
    """A bar a row of about three rates a decade, as long as the smoothed loss."""
    if not smoothed:
        return []
    top = 1.5 * smoothed[0]
    each = max(1, round(len(rates) / max(1.0, 3 * math.log10(rates[-1] / rates[0])))) if len(rates) > 1 else 1
    nearest = min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / best))) if best is not None else -1
    lines = [f"{'rate':>8}  {'loss':>8}"]
    for start in range(0, len(rates), each):
        value = smoothed[start]
        bar = "#" * round(width * min(value / top, 1.0))
        mark = f"  <- suggestion {best:.1e}" if start <= nearest < start + each else ""
        lines.append(f"{rates[start]:8.1e}  {value:8.4f}  {bar}{mark}")
    return lines
