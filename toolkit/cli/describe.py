"""`toolkit describe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.cli.options import config_argument, json_option, print_json, say

if TYPE_CHECKING:
    from toolkit.config.sections import Config


@click.command(
    "describe", epilog="Example: toolkit describe configs/segnet_camvid.yaml --size 360x480 --html segnet.html"
)
@config_argument
@click.option("--size", metavar="HxW", help="Of the images; default: what the training transforms make.")
@click.option("--explain", metavar="LAYER", help="One layer's arithmetic, with its numbers.")
@click.option("--html", "page", type=click.Path(), metavar="FILE", help="Write a page to look at.")
@click.option("--erf", type=click.Path(), metavar="FILE", help="Write a picture of the effective receptive field.")
@click.option("--image", type=click.Path(), metavar="PICTURE", help="What the effective field is drawn over.")
@click.option("--weights", type=click.Path(), metavar="RUN_OR_FILE", help="Weights for the effective field.")
@json_option
def command(
    config: Config, overrides: tuple[str, ...], size: str | None, explain: str | None, page: str | None, erf: str | None,
    image: str | None, weights: str | None, as_json: bool,
) -> None:  # fmt: skip
    """A model's anatomy: layers, sizes, receptive fields, parameters, multiply-adds, memory.

    Nothing is computed or fetched and no data is needed, except for the effective receptive field.
    """
    from toolkit.analysis.anatomy import anatomy_json
    from toolkit.jobs.describe import describe_config, read_size
    from toolkit.report.anatomy.explain import explain_layer
    from toolkit.report.anatomy.table import anatomy_lines

    wanted = read_size(size) if size is not None else None
    anatomy = describe_config(config, wanted)
    lines = explain_layer(anatomy, explain) if explain is not None else list(anatomy_lines(anatomy))
    result = anatomy_json(anatomy)
    if explain is not None:
        result["explanation"] = lines
    if any(option is not None for option in (page, erf, image, weights)):
        from toolkit.jobs.describe import field_lines, field_numbers, write_description

        fields = write_description(config, anatomy, page, erf, image, weights)
        lines += ["", *field_lines(fields)] if fields else []
        result["effective_fields"] = field_numbers(fields)
        lines += [f"written          {path}" for path in (page, erf) if path is not None]
    if as_json:
        print_json(result)
    else:
        say("\n".join(lines))
