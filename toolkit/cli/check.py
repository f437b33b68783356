"""`toolkit check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from toolkit.cli.options import json_option, print_json, say
from toolkit.errors import ConfigError, Problem

if TYPE_CHECKING:
    from toolkit.config.sections import Config
    from toolkit.preflight.findings import Report


@click.command("check", epilog="Example: toolkit check configs/tiny/unet_shapes.yaml --full")
@click.argument("config", type=click.Path())
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option("--full", is_flag=True, help="Also read every file of every split.")
@click.option("--preview", type=click.Path(), metavar="DIR", help="Write pictures of samples as the model sees them.")
@click.option(
    "--html", "page", type=click.Path(), metavar="FILE", help="Write a page with pictures of the files at fault."
)
@click.option(
    "--against", type=click.Path(), metavar="RUN", help="Say what of the data is otherwise than a run saw it."
)
@json_option
def command(
    config: str, overrides: tuple[str, ...], full: bool, preview: str | None, page: str | None, against: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Everything that can be known before training.

    Config, parts that fit, data, data against the model, one batch forward and backward. Exit code 2 when the config
    is at fault, 1 when files are. Mistakes in the config are told at once, before anything is waited for; with --full
    the sections without a fault are looked at even then.
    """
    loaded, mistakes = _loaded(config, overrides)
    if mistakes and not as_json:
        _say("error", mistakes)
    if mistakes and not full:
        if as_json:
            raise ConfigError(mistakes)
        say("\nnot ok: data and parts are looked at when the config is right, or now with --full")
        raise click.exceptions.Exit(ConfigError.exit_code)
    from toolkit.jobs.check import check_config

    if loaded is not None:
        report = check_config(loaded, full=full, preview=preview, page=page, against=against)
    else:
        from toolkit.config.load import load_valid_sections

        sections, valid = load_valid_sections(config, overrides)
        report = check_config(
            sections, full=full, preview=preview, page=page, against=against, valid=valid, mistakes=mistakes
        )
    if as_json:
        print_json(report.as_json())
    else:
        _print(report, told=mistakes)
    if report.errors:
        raise click.exceptions.Exit(report.exit_code)


def _loaded(config: str, overrides: Sequence[str]) -> tuple[Config | None, list[Problem]]:
    """The config, or what is wrong in one that can be read. Raises ConfigError for one that cannot."""
    from pathlib import Path

    from toolkit.config.load import load_config
    from toolkit.config.paths import read

    try:
        return load_config(config, overrides), []
    except ConfigError as error:
        read(Path(config), overrides)
        return None, list(error.problems)


def _print(report: Report, told: Sequence[Problem]) -> None:
    """Facts and tables on standard output; warnings and errors, in groups, on standard error."""
    from toolkit.engine.log import table

    for fact in report.facts:
        say(str(fact))
    for one in report.tables:
        say("\n" + table(one.title, list(one.header), [list(row) for row in one.rows]))
    _say("warning", report.warnings)
    _say("error", [problem for problem in report.errors if problem not in told])
    kinds = (("error", report.errors), ("warning", report.warnings))
    numbers = [_counted(len(problems), word) for word, problems in kinds if problems]
    say("\n" + ", ".join(["not ok" if report.errors else "ok", *numbers]))


def _say(word: str, problems: Sequence[Problem]) -> None:
    if problems:
        say(f"\n{_counted(len(problems), word)}", err=True)
    for problem in problems:
        say(f"  {word:<7} {problem}", err=True)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"
