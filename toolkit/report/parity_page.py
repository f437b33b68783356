"""The page beside an export: how near its answers are to those of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.report.page import render, write_page


def write_parity_page(path: Path, parity: Mapping[str, Any]) -> Path:
    """Writes the page of a certificate. parity: what parity.json holds."""
    totals = _totals(parity)
    columns = _columns(parity["pictures"])
    said = (
        "Within the bounds: the file may take the place of the model."
        if parity["ok"]
        else f"Refused: {parity['fault'] or 'it answers otherwise, see below'}."
    )
    names = ("file", "weights", "precision", "passes", "opset", "versions", "made")
    facts = [(name, str(parity[name])) for name in names if parity.get(name) is not None]
    page = render(
        "parity.html", file=Path(parity["file"]).name, said=said, totals=totals, problems=parity["problems"], columns=columns,
        count=len(parity["pictures"]), engine=parity["engine"], facts=facts,
    )  # fmt: skip
    return write_page(path, page)


def _columns(pictures: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Heading and cells of what the answers for pictures have."""

    def of(name: str, text: Callable[[Any], str]) -> list[str]:
        return [text(one[name]) for one in pictures]

    found = [
        ("picture", of("picture", str)),
        ("height x width", [f"{one['height']}x{one['width']}" for one in pictures]),
        ("largest difference", of("max_logit", _number)),
    ]
    if any(one["labels_equal"] is not None for one in pictures):
        found.append(("labels equal", of("labels_equal", _share)))
    if any(one["max_box"] is not None for one in pictures):
        found.append(("boxes apart (px)", of("max_box", _number)))
        found.append(("without a partner", [_lonely(one) for one in pictures]))
    elif any(one["ties"] for one in pictures):
        found.append(("other value of a window", of("ties", str)))
    return found


def _lonely(picture: Mapping[str, Any]) -> str:
    return f"{picture['unmatched']} ({picture['ties']} at a limit)" if picture["unmatched"] else "0"


def _totals(parity: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was found and what is allowed, for what the answers have."""
    bounds, spread = parity["bounds"], parity["spread"]
    relative = bounds["relative"] and bool(spread)
    largest, unit = parity["max_logit"], " of their spread" if relative else ""
    found = largest / spread if relative and largest is not None else largest
    of_boxes = parity["max_box"] is not None
    what = "largest difference of scores" if of_boxes else "largest difference of logits or values"
    totals = [(what, _number(found) + unit, f"{bounds['logit']:g}{unit}")]
    if exact := parity.get("exact"):
        totals.append(("from the net in float64: the model itself", _number(exact["model"]), "-"))
        totals.append(
            ("from the net in float64: the export", _number(exact["export"]), f"{exact['times']:g} times as far")
        )
        if boxes := exact.get("boxes"):
            totals.append(("from its boxes, pixels: the model itself", _number(boxes["model"]), "-"))
            totals.append(("from its boxes, pixels: the export", _number(boxes["export"]), "the same"))
    if parity["labels_equal"] is not None:
        totals.append(("labels equal", _share(parity["labels_equal"]), _share(bounds["labels"])))
    if of_boxes:
        totals.append(("matched boxes apart, pixels", _number(parity["max_box"]), f"{bounds['boxes']:g}"))
        lonely = parity["unmatched"] - parity["ties"]
        totals.append(("boxes without a partner that lie at no limit", str(lonely), "0"))
        near = f"within {bounds['ties']:g}"
        totals.append(("boxes without a partner at a limit of a score, overlap or rank", str(parity["ties"]), near))
    elif parity["ties"]:
        name = "pooling windows whose other value was taken, equal but for rounding"
        totals.append((name, str(parity["ties"]), f"within {bounds['ties']:g} of the map's spread"))
    if parity["rounded_bytes"]:
        name = "bytes that the resize inside rounds to a neighbouring level"
        totals.append((name, str(parity["rounded_bytes"]), "those half-way between two, else 1 in 1000"))
    metric = parity["metric"]
    if metric is not None:
        totals.append((f"{metric['name']} apart", _number(metric["difference"]), f"{bounds['metric']:g}"))
        if metric["low"] is not None:
            between = f"{metric['low']:+.3g} to {metric['high']:+.3g}"
            totals.append((f"{metric['name']} lost by the export, 95 % interval over pictures", between, "-"))
    return totals


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.4g} %"
