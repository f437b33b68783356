"""What mkdocs asks before and after it builds: pages made from the package itself, links into the repository, llms.txt."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import reference

REPOSITORY = Path(__file__).resolve().parents[2]
LINKED = ("configs/**/*.yaml", "benchmarks/receipts/*.json")
"""Files of the repository that pages point to: they go along, so that the site needs no forge to be whole."""
LETTERS = ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY")
"""Pages that a forge shows at the top of the repository; here they are in the folder `project/`."""
_written: dict[str, tuple[str, str]] = {}


def on_files(files: Files, config: Any) -> Files:
    """Adds the reference, a page a kind of part, and the files that pages point to."""
    for name, text in reference.pages().items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    for path in sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=_notebook(path)))
    for name in LETTERS:
        text = (REPOSITORY / f"{name}.md").read_text(encoding="utf-8")
        files.append(File.generated(config, f"project/{name}.md", content=text.replace("](docs/", "](../")))
    for pattern in LINKED:
        for path in sorted(REPOSITORY.glob(pattern)):
            name = path.relative_to(REPOSITORY).as_posix()
            files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    return files


def _notebook(path: Path) -> str:
    """A notebook as a page: its text and its cells, which a test executes; the file itself lies beside the page."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [c["source"] if c["cell_type"] == "markdown" else f"```python\n{c['source']}\n```" for c in cells]
    return "\n\n".join([*parts, f"[This page as a notebook]({path.name})"]) + "\n"


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """A link out of docs/ into the repository becomes one to the copy in the site; the text is kept for llms.txt."""
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(
        r"\A<!--.*?-->\n", "", markdown
    )  # before a heading it would hide the page's title from the navigation

    def inside(found: re.Match[str]) -> str:
        target = f"project/{found[1]}" if found[1].partition(".")[0] in LETTERS else found[1]
        return f"]({up}{target}" if files.get_file_from_path(target.partition("#")[0]) else f"]({up}index.md"

    text = re.sub(rf"\]\({re.escape(up)}\.\./((?:configs/|benchmarks/|{'|'.join(LETTERS)})[^)#]*)", inside, markdown)
    title = next(iter(re.findall(r"^# (.+)", text, re.MULTILINE)), page.file.src_uri)
    _written[page.file.src_uri] = (title, text)
    return text


def on_post_build(config: Any) -> None:
    """llms.txt lists the pages with their first sentence; llms-full.txt is all of them as they were written."""
    site = Path(config["site_dir"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for name, (title, text) in _written.items():
        lines.append(f"- [{title}]({name.removesuffix('.md')}.html): {_first_sentence(text)}")
    site.joinpath("llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = (f"<!-- {name} -->\n\n{text}" for name, (_, text) in _written.items())
    site.joinpath("llms-full.txt").write_text("\n\n".join(whole) + "\n", encoding="utf-8")


def _first_sentence(text: str) -> str:
    """Of the first paragraph that is prose."""
    plain = re.sub(r"<!--.*?-->|^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    prose = (part.strip() for part in plain.split("\n\n"))
    paragraph = next((part for part in prose if part and part[0] not in "#|!-<`:*"), "")
    return re.split(r"(?<=[.?!]) ", " ".join(paragraph.split()), maxsplit=1)[0]
