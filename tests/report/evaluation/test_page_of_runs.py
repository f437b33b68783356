from __future__ import annotations

import re
from pathlib import Path

from toolkit.report.evaluation.runs import write_runs_page


def test_every_run_is_a_row_with_its_numbers_and_a_link_to_its_page(tmp_path: Path) -> None:
    page = tmp_path / "runs/a b/evaluation/val/report.html"
    page.parent.mkdir(parents=True)
    page.touch()
    rows = [
        {"run": "a b", "split": "val", "metric": "mIoU", "value": 0.5, "low": 0.4, "high": 0.6, "groups": 9,
         "differs": {"seed": 1, "model.neck": "<fpn>"}},
        {"run": "<b>", "why": "no record", "differs": {"seed": 2, "model.neck": None}},
        {"run": "c", "broken": "half a file"},
    ]  # fmt: skip
    table = {"folder": str(tmp_path / "runs"), "runs": rows, "keys": ["seed", "model.neck"]}
    text = write_runs_page(tmp_path / "out.html", table).read_text(encoding="utf-8")
    body = text[text.index("<tbody>") :]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)]
    link = '<a href="runs/a%20b/evaluation/val/report.html">a b</a>'
    assert cells[0] == [link, "val", "mIoU", "50.00 %", "40.00 to 60.00", "9", "1", "&lt;fpn&gt;"]
    assert cells[1] == ["&lt;b&gt;", "", "", "–", "no record", "", "2", "null"]
    assert "broken: half a file" in cells[2][0]
