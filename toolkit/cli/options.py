"""Arguments that several verbs share, and how results are printed."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Any)


def config_argument(function: F) -> F:
    """CONFIG and key=value overrides."""
    function = click.argument("overrides", nargs=-1, metavar="[key=value ...]")(function)
    return click.argument("config", type=click.Path())(function)


def json_option(function: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing else.")(
        function
    )


def print_json(value: Any) -> None:
    """One object, undefined numbers as null."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))
