"""`toolkit evaluate`."""

from __future__ import annotations

import click

from toolkit.cli.options import json_option, print_json, say, trust_option


@click.command("evaluate", epilog="Example: toolkit evaluate runs/unet_shapes --split val")
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT_OR_RUN")
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True)
@trust_option
@json_option
def command(checkpoint: str, overrides: tuple[str, ...], split: str, trust_code: bool, as_json: bool) -> None:
    """Measure a checkpoint on a split of its data.

    The checkpoint carries its config; key=value arguments change it (data.root=elsewhere).
    """
    from toolkit.config.load import refuse_wrong_weights

    refuse_wrong_weights(checkpoint, overrides, trust_code=trust_code)
    from toolkit.engine.log import table
    from toolkit.jobs.evaluate import run_evaluation

    result = run_evaluation(checkpoint, split, overrides, trust_code=trust_code)
    tables = result.pop("tables")
    if as_json:
        print_json(result)
        return
    for title, header, rows in tables:
        say(table(title, header, rows) + "\n")
    skipped = f", {len(result['skipped'])} skipped as bad (data.on_bad: skip)" if result["skipped"] else ""
    loss = result["losses"].get("loss")
    shown = f", loss {loss:.4f}" if loss is not None else ""
    if result["unlabelled"]:
        shown += f" ({result['unlabelled']} without a label left out)"
    took = f"{skipped} in {result['seconds']:.1f} s"
    say(f"{result['checkpoint']}: {result['images']} images of '{split}'{shown}{took}")
