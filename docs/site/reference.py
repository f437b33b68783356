"""The pages of the reference, from what the package says of itself: verbs, keys of a config, parts, Python names."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import click

import toolkit
from toolkit.cli.main import verb, verbs
from toolkit.config.catalogue import catalogue, named
from toolkit.config.load import current_parts
from toolkit.config.schema import editor_schema

SECTIONS = {
    "Jobs": ("load_config", "check", "train", "evaluate", "describe", "predict", "Predictor"),
    "Models": (
        "build_model", "load_model", "VisionModel",
        "unet", "segnet", "segnet_basic", "dilated", "faster_rcnn", "classifier",
    ),
    "What travels between the parts": (
        "Sample", "Truth", "Boxes", "Batch", "collate", "FeaturePyramid", "PyramidSpec",
        "LabelMap", "Detections", "ImageScores", "ImageValues", "ValueMap",
    ),
    "Base classes of parts": ("Backbone", "Neck", "Head", "DenseHead", "PixelLoss", "Dataset", "Transform", "Evaluator"),
    "Errors": ("UserError",),
}  # fmt: skip


def pages() -> dict[str, str]:
    """Markdown by the page's name in `reference/`."""
    parts = current_parts()
    return {
        "verbs.md": _verbs(),
        "config.md": _config(editor_schema(parts)),
        "parts.md": _parts(parts),
        "python.md": _python(),
    }


def _verbs() -> str:
    lines = [
        "# Commands", "",
        "Every verb is also `python tools/VERB.py`. Exit codes: 0 done, 1 the work failed, 2 usage or configuration, 130 stopped "
        "after saving. `--json` prints one object on standard output and nothing else there.",
    ]  # fmt: skip
    for name in verbs():
        command = verb(name)
        assert command is not None
        lines += _command(f"toolkit {name}", command)
        if isinstance(command, click.Group):
            for below, found in command.commands.items():
                lines += _command(f"toolkit {name} {below}", found, level="###")
    return "\n".join(lines) + "\n"


def _command(title: str, command: click.Command, level: str = "##") -> list[str]:
    context = click.Context(command, info_name=title)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = ["", f"{level} {title}", "", f"`{title} {usage}`", "", _prose(inspect.cleandoc(command.help or ""))]
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    if options:
        lines += ["", "| option | does | default |", "|---|---|---|"]
        lines += [_option_row(one) for one in options]
    if command.epilog:
        lines += ["", "```bash", command.epilog.removeprefix("Example: "), "```"]
    return lines


def _option_row(option: click.Option) -> str:
    choices = (
        "|".join(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else option.type.name.upper()
    )
    metavar = "" if option.is_flag else f" {option.metavar or choices}"
    names = ", ".join(f"`{name}{metavar}`" for name in option.opts)
    default = option.default if option.show_default and isinstance(option.default, (str, int, float)) else ""
    return f"| {names} | {_cell(option.help or '')} | {_cell(str(default))} |"


def _config(schema: Mapping[str, Any]) -> str:
    lines = [
        "# Keys of a config", "",
        "One YAML file an experiment. Everything is checked against this table before anything is built; `toolkit schema` "
        "gives it to editors. Keys with a part in them (`model.backbone`, `data.train.dataset`, ...) take the arguments of "
        "[that part](parts.md).",
        "", "| key | type | default | meaning |", "|---|---|---|---|",
    ]  # fmt: skip
    return "\n".join([*lines, *_keys(schema, "")]) + "\n"


def _keys(schema: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for name, about in schema.get("properties", {}).items():
        key = f"{prefix}{name}"
        inner = next((one for one in (about, *about.get("anyOf", ())) if "properties" in one), None)
        required = name in schema.get("required", ())
        default = "required" if required else f"`{json.dumps(about.get('default'), ensure_ascii=False)}`"
        shown = "" if inner is not None and not required else default
        yield f"| `{key}` | {_cell(_type(about))} | {_cell(shown)} | {_cell(about.get('description', ''))} |"
        if inner is not None:
            yield from _keys(inner, f"{key}.")


def _type(about: Mapping[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "$ref" in about:
        return f"one of the {about['$ref'].rpartition('/')[2]}"
    if "enum" in about:
        return " or ".join(f"`{value}`" for value in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_type(one) for one in about["anyOf"]))
    kind = about.get("type", "any value")
    words = {
        "object": "section",
        "array": "list",
        "integer": "whole number",
        "string": "text",
        "boolean": "true or false",
    }
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = " ".join(f"{sign} {about[name]}" for name, sign in bounds.items() if name in about)
    items = f" of: {_type(about['items'])}" if kind == "array" and isinstance(about.get("items"), dict) else ""
    return f"{words.get(str(kind), str(kind))} {limits}".strip() + items


def _parts(parts: Any) -> str:
    lines = [
        "# Parts", "",
        "What a config may name, by kind. Any class of your own is named as `module:Class`; any albumentations transform, "
        "and any encoder of timm or segmentation-models-pytorch, by its own name.",
    ]  # fmt: skip
    for group, entries in catalogue(parts).items():
        lines += ["", f"## {group.capitalize()}"]
        for entry in entries:
            whole = named(parts, entry["name"], group)[group][0]
            lines += [
                "",
                f"### {entry['name']} {{: #{group}-{_slug(entry['name'])} }}",
                "",
                _prose(whole.get("doc") or entry["summary"]),
            ]
            if entry["parameters"]:
                lines += ["", "| argument | type | default | meaning |", "|---|---|---|---|"]
                lines += [_parameter_row(one) for one in entry["parameters"]]
    return "\n".join(lines) + "\n"


def _parameter_row(parameter: Mapping[str, Any]) -> str:
    default = "required" if parameter["required"] else f"`{json.dumps(parameter['default'], ensure_ascii=False)}`"
    return (
        f"| `{parameter['name']}` | {_cell(parameter['type'])} | {_cell(default)} | {_cell(parameter['help'] or '')} |"
    )


def _python() -> str:
    lines = ["# Python", "", "`import toolkit` costs nothing: each name is imported when it is first used."]
    for title, names in SECTIONS.items():
        lines += ["", f"## {title}"]
        for name in names:
            lines += ["", f"::: {toolkit._HOME_OF[name]}.{name}", "    options: {heading_level: 3}"]
    return "\n".join(lines) + "\n"


def _prose(text: str) -> str:
    """A docstring as Markdown: indented blocks stay as they are, marks that Markdown would obey do not act."""
    lines = text.replace("\b", "").splitlines()
    return "\n".join(line if line.startswith("    ") else _escape(line) for line in lines).strip()


def _escape(text: str) -> str:
    """`<` outside of code would open a tag, `*` and `_` would slant what follows."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(one if one.startswith("`") else re.sub(r"([<*_\[\]])", r"\\\1", one) for one in pieces)


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", "\\|")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
