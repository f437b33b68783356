"""`toolkit train`."""

from __future__ import annotations

import click

from toolkit.cli.options import config_argument, json_option, print_json


@click.command("train", epilog="Example: toolkit train configs/tiny/unet_shapes.yaml train.steps=300 --run runs/first")
@config_argument
@click.option("--run", type=click.Path(), help="Run folder; default runs/NAME, with a number when that is used.")
@click.option("--resume", is_flag=True, help="Continue in place: the run is the uninterrupted run, to the bit.")
@json_option
def command(config: str, overrides: tuple[str, ...], run: str | None, resume: bool, as_json: bool) -> None:
    """Train a model, or continue a training.

    key=value arguments override the config: train.steps=100 data.batch_size=2
    """
    from toolkit.config.jobs import run_training
    from toolkit.config.load import load_config

    result = run_training(load_config(config, overrides), run, resume=resume)
    if as_json:
        print_json(result)
