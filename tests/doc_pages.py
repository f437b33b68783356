"""Pages of the documentation taken apart: fenced blocks with what stands above them, commands, code within sentences, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parent != DOCS / "site")
LETTERS = [REPOSITORY / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "ARCHITECTURE")]
"""What is read on a forge and not on the site."""

_FENCE = re.compile(
    r"(?:^<!--(?P<said>[^\n]*?)-->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A fenced block of a page. language: of the fence. said: the comment right above it, "" without one."""

    language: str
    text: str
    said: str
    line: int


def name_of(page: Path) -> str:
    return str(page.relative_to(DOCS if page.is_relative_to(DOCS) else REPOSITORY))


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = _FENCE.finditer(text)
    return [
        Block(one["language"], one["text"], (one["said"] or "").strip(), text[: one.start()].count("\n") + 1)
        for one in found
    ]


def start_of(page: Path) -> list[str]:
    """What the page's folder holds before its first block."""
    found = re.search(r"<!-- starts with: ([\w ]+) -->", page.read_text(encoding="utf-8"))
    return found[1].split() if found else []


def not_run(block: Block) -> str | None:
    return block.said.removeprefix("not run: ") if block.said.startswith("not run:") else None


def commands(text: str) -> list[list[str]]:
    lines = (shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines())
    return [words for words in lines if words]


def sentences(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def code_in_sentences(page: Path) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", sentences(page))


def links(page: Path) -> list[str]:
    """Where a page's links and pictures lead, addresses of other places left out."""
    found = re.findall(r"\]\(([^)\s]+)\)", sentences(page))
    return [target for target in found if not re.match(r"[a-z]+:", target)]
