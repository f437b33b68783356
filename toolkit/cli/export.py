"""`toolkit export`."""

from __future__ import annotations

from typing import Any

import click

from toolkit.cli.options import json_option, print_json, say, trust_option

LIBRARIES = ("torchvision", "smp", "timm")


@click.command("export", epilog="Example: toolkit export runs/unet_shapes --to onnx")
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT_OR_RUN")
@click.argument("overrides", nargs=-1, metavar="[key=value ...]")
@click.option(
    "--to",
    "target",
    type=click.Choice(["onnx", "openvino", "torch", *LIBRARIES]),
    default="onnx",
    show_default=True,
    help="A program of an engine, or weights that another library's own net loads.",
)
@click.option("--out", type=click.Path(), help="The file; default: beside the weights, with the format's ending.")
@click.option("--size", metavar="HxW", help="For pictures of this height and width only, one at a time.")
@click.option("--dynamic", is_flag=True, help="For pictures of any size, any number at a time (the default).")
@click.option("--half", is_flag=True, help="Weights and maps in float16.")
@click.option(
    "--int8", is_flag=True, help="Convolutions in eight bits, ranges from the pictures it is proved on (onnx)."
)
@click.option("--raw", is_flag=True, help="From normalised pixels to the head's outputs, nothing before or behind.")
@click.option(
    "--samples", type=click.Path(), metavar="DIR", help="Pictures it is proved on; default: the run's val, then train."
)
@click.option(
    "--samples-mc",
    type=click.IntRange(min=1),
    help="Passes with dropout that the answer is the mean of, with the noise of predict; default: one without dropout.",
)
@click.option("--check", is_flag=True, help="Prove the file that is there already; write none.")
@click.option("--no-thresholds", is_flag=True, help="Do not apply the thresholds that the checkpoint keeps.")
@trust_option
@json_option
def command(
    checkpoint: str,
    overrides: tuple[str, ...],
    target: str,
    out: str | None,
    size: str | None,
    dynamic: bool,
    half: bool,
    int8: bool,
    raw: bool,
    samples: str | None,
    samples_mc: int | None,
    check: bool,
    no_thresholds: bool,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Write a checkpoint as a program of another engine, and prove that it answers the same.

    uint8 pictures in (N, H, W, C), answers in their pixels out. Beside the file: run.py, which needs no toolkit, and the proof,
    parity.json and parity.html. Exit code 1 when it answers otherwise: the message names the first block that differs.
    """
    if size is not None and dynamic:
        raise click.UsageError("--size fixes what --dynamic leaves open; give one of them")
    of_programs = {
        "--size": size, "--dynamic": dynamic, "--half": half, "--int8": int8, "--raw": raw, "--samples": samples,
        "--samples-mc": samples_mc, "--check": check, "--no-thresholds": no_thresholds, "key=value": overrides,
    }  # fmt: skip
    given = [name for name, value in of_programs.items() if value]
    if given and target in LIBRARIES:
        raise click.UsageError(f"{', '.join(given)}: of programs alone; --to {target} writes the weights as they are")
    from toolkit.config.load import refuse_wrong_weights

    refuse_wrong_weights(checkpoint, overrides, trust_code=trust_code)
    from toolkit.jobs.describe import read_size
    from toolkit.jobs.export import Wishes, run_export

    wanted = read_size(size) if size is not None else None

    if target in LIBRARIES:
        _weights(checkpoint, target, out, trust_code, as_json)
        return
    wishes = Wishes(wanted, half, raw, int8, not no_thresholds, samples, samples_mc)
    result = run_export(
        checkpoint, target, out, wishes,  # type: ignore[arg-type]
        overrides=overrides, trust_code=trust_code, check=check, tell=lambda line: say(line, err=True),
    )  # fmt: skip
    if as_json:
        print_json(result)
    else:
        _say(result, samples)
    if not result["parity"]["ok"]:
        raise click.exceptions.Exit(1)


def _weights(checkpoint: str, target: str, out: str | None, trust_code: bool, as_json: bool) -> None:
    """A state dict for another library."""
    from toolkit.jobs.export_weights import run_export_weights

    result = run_export_weights(checkpoint, target, out, trust_code=trust_code)  # type: ignore[arg-type]
    if as_json:
        print_json(result)
    else:
        say(f"{result['file']}: loaded strictly by {result['net']}")
        say(f"largest difference for random pixels: {result['parity']['max_logit']:.2g}")
        if result["note"] is not None:
            say(result["note"])
    if not result["parity"]["ok"]:
        say("refused: that net takes the weights, and answers otherwise", err=True)
        raise click.exceptions.Exit(1)


def _say(result: dict[str, Any], samples: str | None) -> None:
    parity = result["parity"]
    say(f"{result['file']}: {'proved' if parity['ok'] else 'REFUSED'} on {parity['images']} pictures; {result['page']}")
    if parity["max_logit"] is not None:
        say(f"largest difference {parity['max_logit']:.3g}")
    if parity["exact"] is not None and parity["exact"]["explains"]:
        say(
            "that is rounding of float32: from the net in float64 the model itself is {model:.3g} away, the export "
            "{export:.3g}".format(**parity["exact"])
            + (
                "; of boxes {model:.3g} and {export:.3g} pixels".format(**boxes)
                if (boxes := parity["exact"]["boxes"])
                else ""
            )
        )
    if parity["labels_equal"] is not None:
        say(f"labels equal {100 * parity['labels_equal']:.4f} %")
    if parity["max_box"] is not None:
        say(
            f"boxes {parity['max_box']:.3g} pixels apart, {parity['unmatched']} without a partner ({parity['ties']} at a limit)"
        )
    elif parity["ties"]:
        say(
            f"{parity['ties']} pooling windows hold two values that are equal but for rounding, and the export took the other "
            "one; where it did, logits are compared with those of the model that takes it, too"
        )
    if parity["metric"] is not None:
        one = parity["metric"]
        say(
            f"{one['name']} on {one['images']} pictures: {one['model']:.6g} of the model, {one['export']:.6g} of the export"
        )
        if one["low"] is not None:
            say(f"lost by the export: {one['low']:+.3g} to {one['high']:+.3g} (95 % interval over pictures)")
    elif samples is not None:
        say(
            f"no metric is compared: the pictures of {samples} have no annotations here; the run's own have, without --samples"
        )
    for problem in parity["problems"]:
        say(f"refused: {problem}", err=True)
    if parity["fault"]:
        say(parity["fault"], err=True)
