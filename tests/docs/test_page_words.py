"""What the pages say between their blocks is true: commands and options exist, keys are keys, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from doc_pages import DOCS, LETTERS, PAGES, REPOSITORY, blocks, code_in_sentences, commands, links, name_of

from toolkit.cli.main import verb, verbs
from toolkit.config.load import current_parts
from toolkit.config.schema import editor_schema

OF_OTHERS = {"--nproc-per-node", "--run-folder", "--kill-on-bad-exit", "--requeue", "--array", "--shm-size", "--opt-in"}
"""Options of torchrun, SLURM, docker, and what `train` calls --run there."""
MADE = {"reference/verbs.md", "reference/config.md", "reference/parts.md", "reference/python.md"}
"""Pages that the site makes; `make docs` holds links to them and to every heading."""


def options(command: click.Command) -> set[str]:
    own = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    return own.union(*(options(below) for below in getattr(command, "commands", {}).values()))


OPTIONS = {name: options(command) for name in verbs() if (command := verb(name)) is not None}


def said_commands(page: Path) -> list[list[str]]:
    """`toolkit VERB ...` in sentences, and in blocks that are run or not."""
    inside = [span.split() for span in code_in_sentences(page) if span.startswith("toolkit ")]
    shown = [words for block in blocks(page) if block.language == "bash" for words in commands(block.text)]
    return [words for words in [*inside, *shown] if words[0] == "toolkit" and len(words) > 1]


@pytest.mark.parametrize("page", [*PAGES, *LETTERS], ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    for words in said_commands(page):
        if words[1].isupper() or words[1].startswith("-"):
            continue
        assert words[1] in OPTIONS, " ".join(words)
        given = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
        assert given <= OPTIONS[words[1]], " ".join(words)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_need_nothing_but_the_package(page: Path) -> None:
    shown = [block.text for block in blocks(page) if block.language == "bash"]
    assert not [text for text in shown if re.search(r"(?:^|\s)tools/", text)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_that_stand_alone_are_of_some_verb(page: Path) -> None:
    ray = re.findall(r'"(--[a-z-]+)"', (REPOSITORY / "toolkit" / "cli" / "predict_ray.py").read_text(encoding="utf-8"))
    every = set().union(*OPTIONS.values(), ray) | OF_OTHERS
    alone = {span.split()[0].partition("=")[0] for span in code_in_sentences(page) if span.startswith("--")}
    assert alone <= every


@pytest.mark.parametrize("page", [*PAGES, LETTERS[0]], ids=name_of)
def test_keys_of_a_config_exist(page: Path) -> None:
    sections = editor_schema(current_parts())["properties"]
    for span in code_in_sentences(page):
        for section, key in re.findall(r"(?:^|[ '])(data|train|evaluate)\.(?!json|yaml|txt|log)([a-z0-9_]+)", span):
            assert key in sections[section]["properties"], span


@pytest.mark.parametrize("page", [*PAGES, *LETTERS], ids=name_of)
def test_links_lead_to_something(page: Path) -> None:
    for link in links(page):
        target = (page.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else page
        made = target.is_relative_to(DOCS) and target.relative_to(DOCS).as_posix() in MADE
        notebook = target.with_suffix(".ipynb").exists() and target.parent.name == "notebooks"
        assert target.exists() or made or notebook, link


@pytest.mark.parametrize("page", [*PAGES, *LETTERS], ids=name_of)
def test_files_of_the_repository_that_are_named_exist(page: Path) -> None:
    for span in code_in_sentences(page):
        if re.fullmatch(r"(?:tests|benchmarks|tools|configs|docs)/[\w/]+\.\w+", span) and "NAME" not in span:
            assert (REPOSITORY / span).exists(), span


def test_every_question_has_a_page_that_answers_it() -> None:
    text = (DOCS / "questions.md").read_text(encoding="utf-8")
    asked = re.split(r"^\*\*", text, flags=re.MULTILINE)[1:]
    assert len(asked) >= 25
    for one in asked:
        assert "?**" in one, one
        assert re.search(r"\]\([\w./#-]+\)", one), f"no page answers: {one}"


def test_the_changelog_keeps_its_form() -> None:
    """Keep a Changelog: versions, the newest first, and six kinds of change, each at most once a version."""
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.+)", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", one) for one in versions[1:])
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)", section, re.MULTILINE)
        assert len({*kinds}) == len(kinds)
        assert {*kinds} <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    build = pytest.importorskip(
        "mkdocs.commands.build", reason="mkdocs is not installed: pip install 'toolkit-dense[docs]'"
    )
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'toolkit-dense[docs]'")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install 'toolkit-dense[docs]'")
    from mkdocs.config import load_config

    build.build(load_config(str(REPOSITORY / "mkdocs.yml"), site_dir=str(tmp_path)))  # strict: a warning is an error
    asked = re.compile(r"<(?:script|img|iframe|link rel=.stylesheet.)[^>]*(?:src|href)=.https?://[^>]*>")
    assert not [found for page in tmp_path.rglob("*.html") for found in asked.findall(page.read_text(encoding="utf-8"))]
    listed = (tmp_path / "llms.txt").read_text(encoding="utf-8")
    for page in PAGES:
        name = page.relative_to(DOCS).with_suffix(".html").as_posix()
        assert (tmp_path / name).exists(), name
        assert f"({name})" in listed, name
