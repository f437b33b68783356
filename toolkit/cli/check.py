"""`toolkit check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from toolkit.cli.front_door import refuse_mistakes
from toolkit.cli.options import json_option, print_json
from toolkit.errors import ConfigError, Problem

if TYPE_CHECKING:
    from toolkit.preflight.findings import Report


@click.command("check", epilog="Example: toolkit check configs/tiny/unet_shapes.yaml --full")
@click.argument("config", type=click.Path())
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option("--full", is_flag=True, help="Also read every file of every split.")
@click.option("--preview", type=click.Path(), metavar="DIR", help="Write pictures of samples as the model sees them.")
@click.option(
    "--html", "page", type=click.Path(), metavar="FILE", help="Write a page with pictures of the files at fault."
)
@json_option
def command(
    config: str, overrides: tuple[str, ...], full: bool, preview: str | None, page: str | None, as_json: bool
) -> None:
    """Everything that can be known before training.

    Config, parts that fit, data, data against the model, one batch forward and backward. Exit code 2 when the config
    is at fault, 1 when files are. Mistakes in the config are told at once, before anything is waited for; with --full
    the sections that are sound are looked at even then.
    """
    mistakes = _mistakes(config, overrides)
    if mistakes and not as_json:
        _say("error", mistakes)
    if mistakes and not full:
        if as_json:
            raise ConfigError(mistakes)
        click.echo("\nnot ok: data and parts are looked at when the config is right, or now with --full")
        raise click.exceptions.Exit(ConfigError.exit_code)
    report = _looked_at(config, overrides, mistakes, full, preview, page)
    if as_json:
        print_json(report.as_json())
    else:
        _print(report, told=mistakes)
    if report.errors:
        raise click.exceptions.Exit(report.exit_code)


def _mistakes(config: str, overrides: Sequence[str]) -> list[Problem]:
    """What is wrong in a config that can be read. Raises ConfigError for one that cannot."""
    try:
        refuse_mistakes(config, overrides)
    except ConfigError as error:
        from pathlib import Path

        from toolkit.config.config_file import read

        read(Path(config), overrides)
        return list(error.problems)
    return []


def _looked_at(
    config: str,
    overrides: Sequence[str],
    mistakes: Sequence[Problem],
    full: bool,
    preview: str | None,
    page: str | None,
) -> Report:
    from pathlib import Path

    from toolkit.config.config_file import read
    from toolkit.config.load import load_config
    from toolkit.config.sound import sound_sections
    from toolkit.jobs.check import check_config

    if not mistakes:
        return check_config(load_config(config, overrides), full=full, preview=preview, page=page)
    sections, sound = sound_sections(read(Path(config), overrides))
    return check_config(sections, full=full, preview=preview, page=page, sound=sound, mistakes=mistakes)


def _print(report: Report, told: Sequence[Problem]) -> None:
    """Facts and tables on standard output; warnings and errors, in groups, on standard error."""
    from toolkit.engine.log import table

    for fact in report.facts:
        click.echo(fact)
    for title, header, rows in report.tables:
        click.echo("\n" + table(title, list(header), [list(row) for row in rows]))
    _say("warning", report.warnings)
    _say("error", [problem for problem in report.errors if problem not in told])
    kinds = (("error", report.errors), ("warning", report.warnings))
    numbers = [_counted(len(problems), word) for word, problems in kinds if problems]
    click.echo("\n" + ", ".join(["not ok" if report.errors else "ok", *numbers]))


def _say(word: str, problems: Sequence[Problem]) -> None:
    if problems:
        click.echo(f"\n{_counted(len(problems), word)}", err=True)
    for problem in problems:
        click.echo(f"  {word:<7} {problem}", err=True)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"
