"""`toolkit check`."""

from __future__ import annotations

import click

from toolkit.cli.options import config_argument, json_option, print_json


@click.command("check", epilog="Example: toolkit check configs/tiny/unet_shapes.yaml --full")
@config_argument
@click.option("--full", is_flag=True, help="Also read every file of every split.")
@json_option
def command(config: str, overrides: tuple[str, ...], full: bool, as_json: bool) -> None:
    """Everything that can be known before training.

    Config, parts that fit, data, one batch forward and backward. Exit code 1 when files are at fault, 2 when the
    config is.
    """
    from toolkit.config.check import check_config
    from toolkit.config.load import load_config

    report = check_config(load_config(config, overrides), full=full)
    if as_json:
        print_json(report.as_json())
    else:
        for fact in report.facts:
            click.echo(fact)
        for problem in report.warnings:
            click.echo(f"warning {problem}", err=True)
        for problem in report.errors:
            click.echo(f"error   {problem}", err=True)
        click.echo("ok" if not report.errors else f"{len(report.errors)} problem(s)", err=bool(report.errors))
    if report.errors:
        raise click.exceptions.Exit(report.exit_code)
