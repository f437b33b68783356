"""The page beside an export: how near its answers are to those of its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.report.page import render, write_page


def write_parity_page(path: Path, parity: Mapping[str, Any]) -> Path:
    """Writes the page of a certificate. parity: what parity.json holds."""
    bounds = parity["bounds"]
    unit = " spreads" if bounds["relative"] else ""
    totals = [
        ("largest difference of logits or values", _number(parity["max_logit"]), f"{bounds['logit']:g}{unit}"),
        ("labels equal", _share(parity["labels_equal"]), _share(bounds["labels"])),
        ("matched boxes apart, pixels", _number(parity["max_box"]), f"{bounds['boxes']:g}"),
        ("boxes without a partner that lie at no limit", str(parity["unmatched"] - parity["ties"]), "0"),
    ]
    if parity["rounded_bytes"]:
        totals.append(
            ("bytes that the resize inside rounds to a neighbouring level", str(parity["rounded_bytes"]), "1 in 1000")
        )
    metric = parity["metric"]
    if metric is not None:
        between = f" ({metric['low']:+.3g} to {metric['high']:+.3g})" if metric["low"] is not None else ""
        totals.append((f"{metric['name']} apart", _number(metric["difference"]) + between, f"{bounds['metric']:g}"))
    rows = [
        (row["picture"], f"{row['height']}x{row['width']}", _number(row["max_logit"]), _share(row["labels_equal"]),
         _number(row["max_box"]), row["unmatched"])
        for row in parity["pictures"]
    ]  # fmt: skip
    said = (
        "Within the bounds: the file may take the place of the model."
        if parity["ok"]
        else f"Refused: {parity['fault'] or 'it answers otherwise, see below'}."
    )
    facts = [(name, str(parity[name])) for name in ("file", "weights", "precision", "opset", "versions", "made")]
    page = render(
        "parity.html", file=Path(parity["file"]).name, said=said, totals=totals, problems=parity["problems"], rows=rows,
        engine=parity["engine"], facts=facts,
    )  # fmt: skip
    return write_page(path, page)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.4g} %"
