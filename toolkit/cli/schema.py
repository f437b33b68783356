"""`toolkit schema`."""

from __future__ import annotations

import click

from toolkit.cli.options import print_json


@click.command("schema", epilog="Example: toolkit schema > toolkit.schema.json")
@click.option("--json", "as_json", is_flag=True, help="The same: the schema is JSON.")
def command(as_json: bool) -> None:
    """The JSON Schema of configs, for editors.

    Put `# yaml-language-server: $schema=toolkit.schema.json` on a config's first line for completion, help and checks.
    """
    from toolkit.config.load import current_parts
    from toolkit.config.schema import editor_schema

    print_json(editor_schema(current_parts()))
