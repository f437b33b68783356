"""`toolkit weights`: list, show, import, verify."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.options import json_option, print_json, say

if TYPE_CHECKING:
    from toolkit.config.sections import Config


@click.group("weights", epilog="Example: toolkit weights import unet.pth --from smp --out unet.safetensors")
def command() -> None:
    """Weights of other libraries: what there is, what a file holds, into this toolkit's names, whether it is whole.

    Nothing is downloaded, except what `import` is asked for by torchvision's name.
    """


@command.command("list", epilog="Example: toolkit weights list torchvision resnet50")
@click.argument("words", nargs=-1, metavar="[pip|torchvision|smp|timm] [WORD ...]")
@json_option
def list_command(words: tuple[str, ...], as_json: bool) -> None:
    """Published weights: source, licence, size, and whether they are on this machine.

    Without a library: the pip packages and torchvision's; `smp` and `timm` name theirs. Words choose among the rows.
    """
    from toolkit.jobs.weights import LIBRARIES, list_weights

    libraries = [word for word in words if word in LIBRARIES] or ["pip", "torchvision"]
    rows = list_weights(libraries, [word for word in words if word not in LIBRARIES])
    if as_json:
        print_json({"weights": rows})
        return
    for row in rows:
        size = f", {row['megabytes']:.1f} MB" if row["megabytes"] else ""
        say(f"{row['name']} ({row['library']}{size}){': on this machine' if row['here'] else ''}")
        say(f"    {row['use']}")
        say(f"    {row['licence']}; {row['source']}")
    say(f"{len(rows)} of {', '.join(libraries)}; the others: toolkit weights list smp, ... timm")


@command.command("show", epilog="Example: toolkit weights show best.safetensors")
@click.argument("file")
@click.option("--all", "every", is_flag=True, help="Every tensor; else the first and the last ten.")
@json_option
def show_command(file: str, every: bool, as_json: bool) -> None:
    """What a file of weights holds: tensors, what it says of itself, and whose it is."""
    from toolkit.jobs.weights import show_weights

    result = show_weights(file)
    if as_json:
        print_json(result)
        return
    say(f"file       {result['file']}\norigin     {result['origin']}")
    say(f"tensors    {len(result['tensors'])}, {result['numbers']:,} numbers; digest {result['digest'][:16]}")
    if result["classes"]:
        say(f"classes    {len(result['classes'])}: {', '.join(result['classes'][:12])}")
    lines = [
        f"{name:<56} {one['dtype']:<9} {'x'.join(map(str, one['shape']))}" for name, one in result["tensors"].items()
    ]
    short = every or len(lines) <= 24
    say("\n".join(lines if short else [*lines[:10], f"... {len(lines) - 20} more (--all)", *lines[-10:]]))


@command.command("import", epilog="Example: toolkit weights import model_final.pth --map table.yaml --for mine.yaml")
@click.argument("file")
@click.option("--from", "library", type=click.Choice(["torchvision", "timm", "smp"]), help="Default: recognised.")
@click.option("--map", "table", type=click.Path(), metavar="TABLE", help="Your own table of names (docs/weights.md).")
@click.option("--for", "target", metavar="CONFIG", help="The model it is for; default: one that it fits.")
@click.option("--classes", metavar="A,B,C|FILE", help="Names of the file's classes, in the order of their labels.")
@click.option("--out", type=click.Path(), metavar="FILE", help="Default: the file's own name with .safetensors, here.")
@json_option
def import_command(
    file: str, library: str | None, table: str | None, target: str | None, classes: str | None, out: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Bring weights into this toolkit's names: predict, evaluate and model.init_from take the result.

    Every tensor is accounted for. Classes are matched by name where both sides say theirs; the rest is drawn anew.
    """
    config = _config(target)
    from toolkit.jobs.weights import import_weights

    written = Path(out) if out is not None else Path(f"{Path(file).stem}.safetensors")
    result = import_weights(
        file, written, library=library, table=Path(table) if table else None, config=config, classes=_names(classes)
    )
    if as_json:
        print_json(result)
        return
    _say_account(result)
    say(f"written    {result['out']}: model.init_from of a config, or toolkit predict {result['out']} PICTURES")
    if result["missing"]:
        say("note: tensors that the file lacks were drawn anew, so train before you predict", err=True)


def _say_account(result: dict[str, Any]) -> None:
    from toolkit.engine.log import table

    say(f"file       {result['file']}\nnames      {result['as']}")
    counts = [[what, str(len(result[what])), _some(result[what])] for what in ("taken", "reshaped", "left", "missing")]
    say(table("", ["tensors", "number", "first"], counts))
    for what in ("reshaped", "left"):
        for name, how in list(result[what].items())[:12]:
            say(f"{what:<10} {name}: {how}")
    known, new = result["classes"]["known"], result["classes"]["new"]
    if known or new:
        say(f"classes    {len(known)} found by name; drawn anew: {_some(new, 12) or 'none'}")


def _some(names: Iterable[str], most: int = 3) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def _names(classes: str | None) -> Sequence[str]:
    """Class names from the command line or a file with one a line."""
    if classes is None:
        return ()
    file = Path(classes)
    if file.is_file():
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [name.strip() for name in classes.split(",")]


def _config(target: str | None) -> Config | None:
    if target is None:
        return None
    from toolkit.config.load import load_config

    return load_config(target)


@command.command("verify", epilog="Example: toolkit weights verify unet.safetensors --for mine.yaml")
@click.argument("file")
@click.option("--for", "target", metavar="CONFIG", help="Also try it in this model.")
@json_option
def verify_command(file: str, target: str | None, as_json: bool) -> int:
    """Whether a file is whole: hash, every number finite, and with --for whether a model takes it. Exit code 1 if not."""
    config = _config(target)
    from toolkit.jobs.weights import verify_weights

    result = verify_weights(file, config)
    if as_json:
        print_json(result)
    else:
        say(f"file       {result['file']}\nsha256     {result['sha256']}")
        say(f"published  {result['published'] or 'not known by its hash'}")
        say(f"tensors    {result['tensors']}, {'all finite' if result['finite'] else 'NOT all finite'}")
        for problem in result["problems"]:
            say(f"problem    {problem}")
        say("whole" if result["ok"] else "not as it should be")
    return 0 if result["ok"] else 1
