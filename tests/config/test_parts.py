"""The description of all parts is that of the classes, reads values as pydantic does, and needs no torch."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import yaml
from config_mutations import ODD_VALUES, mutated
from packaging.version import Version
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from toolkit.config.describe_parts import config_schema, text
from toolkit.config.parts import FILE, Parts, is_current, shipped_parts
from toolkit.config.plain import to_plain
from toolkit.config.sections import KINDS, Config, PartSpec
from toolkit.config.signatures import Schema, constructor_arguments, signature_schema
from toolkit.config.source import parse
from toolkit.config.validate import ConfigValidator, section_schema
from toolkit.config.values import MisfitError, read_value, without_null
from toolkit.config.words import describe_type, part_kind
from toolkit.contracts import REGISTRIES
from toolkit.errors import ConfigError
from toolkit.jobs.part_classes import part_class

of_newest = pytest.mark.skipif(
    Version(version("timm")) < Version("1.0.31"), reason="the shipped description is of a newer timm's nets"
)
CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))
VALUES: tuple[Any, ...] = (
    *ODD_VALUES, -3, 4, 5, 8, 16, 0.1, 1.0, 3.0, "same", "none", "train", "ignore", "image", [0.5], [1], [1, 2.5], [2, 1, 3],
    [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4], ["road", 1], [True], [None, 3], {"x": [1, 2]}, {"x": 0.5},
    {0: 1, 1: "ignore"},
    {"0": 1}, {"a": [1, 2, 3]}, {1.5: 2}, {"downscale": 0, "upscale": 1}, {"downscale": 7}, {0: "other"}, {-1: 3},
)  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> Parts:
    return shipped_parts()


def all_parts(parts: Parts) -> Iterator[tuple[str, str]]:
    for kind in KINDS:
        for name in parts.names(kind, foreign=True):
            yield kind, name


@of_newest
def test_the_description_is_fresh() -> None:
    """A changed signature, default or docstring wants `make parts`. Names of other libraries' nets are those of their version."""
    here, shipped = (json.loads(told) for told in (text(config_schema()), FILE.read_text(encoding="utf-8")))
    assert without_long_lists(here) == without_long_lists(shipped)


def without_long_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_long_lists(one) for key, one in value.items()}
    if isinstance(value, list):
        return "names of a library" if len(value) > 100 else [without_long_lists(one) for one in value]
    return value


def test_every_part_is_described(parts: Parts) -> None:
    for registry in REGISTRIES.values():
        assert set(registry.names()) <= set(parts.names(registry.kind))
        for name, cls in registry.items():
            hidden = set(registry.injected) - set(registry.settable)
            assert list(parts.part(registry.kind, name)["properties"]) == [
                argument for argument in constructor_arguments(cls) if argument not in hidden
            ]
    assert len([name for kind, name in all_parts(parts) if kind == "transform"]) > 90


def keys(schema: Schema, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, help) of every argument, those of inner sections too."""
    for name, argument in schema["properties"].items():
        inner, _ = without_null(argument)
        yield f"{prefix}{name}", argument.get("description", "")
        if "properties" in inner:
            yield from keys(inner, f"{prefix}{name}.")


def test_every_key_has_help(parts: Parts) -> None:
    """Five words or more, and not the name again."""
    described = {"config": section_schema(Config)}
    described |= {f"{kind} {name}": parts.part(kind, name) for kind, name in all_parts(parts)}
    lacking = {
        f"{place}: {key}"
        for place, schema in described.items()
        for key, said in keys(schema)
        if len(set(said.lower().split()) - set(key.replace(".", "_").split("_"))) < 5
    }
    assert lacking == set()


def strictly(annotation: Any, value: Any) -> tuple[bool, Any]:
    """Whether pydantic's strict reading of JSON takes a value for a type, and as what."""
    try:
        adapter = TypeAdapter(annotation)
    except PydanticUserError:
        return False, None
    try:
        return True, adapter.validate_json(json.dumps(_with_text_keys(value)), strict=True)
    except (ValidationError, ValueError):
        return False, None


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key).lower() if isinstance(key, bool) else str(key): _with_text_keys(v) for key, v in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def read(schema: Schema, value: Any) -> tuple[bool, Any]:
    try:
        return True, read_value(schema, value)
    except MisfitError:
        return False, None


def has_parts(schema: Schema) -> bool:
    plain, _ = without_null(schema)
    return bool(part_kind(plain) or part_kind(plain.get("items", {})) or "properties" in plain)


def test_values_are_read_as_pydantic_reads_them(parts: Parts) -> None:
    """Every type of every argument, against values odd and even: the same ones are taken, as the same objects."""
    seen: dict[str, tuple[Any, Schema]] = {}
    for kind, name in all_parts(parts):
        known = constructor_arguments(part_class(kind, name))
        for argument, schema in parts.part(kind, name)["properties"].items():
            if not has_parts(schema):
                seen.setdefault(str(known[argument].annotation), (known[argument].annotation, schema))
    for argument, schema in section_schema(Config)["properties"]["train"]["properties"].items():
        if not has_parts(schema):
            annotation = constructor_arguments(constructor_arguments(Config)["train"].annotation)[argument].annotation
            seen.setdefault(str(annotation), (annotation, schema))
    assert len(seen) > 80
    differing = [
        (words, value, strictly(annotation, value), read(schema, value))
        for words, (annotation, schema) in seen.items()
        for value in VALUES
        if not any(
            abs(number) > 1 << 63 for number in [value] if type(number) is int
        )  # refused before its type is asked
        and repr(strictly(annotation, value)) != repr(read(schema, value))
    ]
    assert [one for one in differing if not is_better(*one[:2])] == []


def is_better(words: str, value: Any) -> bool:
    """What is read otherwise on purpose: in a choice of numbers pydantic takes `true` for 1, and a pair of pixels for floats.

    Its older versions take no 1.0 in a choice of whole numbers, and no large whole number for a float.
    """
    has_bool = "True" in str(value) or value is False
    whole = isinstance(value, float) and value.is_integer()
    large = type(value) is int and value > 1 << 53 and "float" in words
    pair = words == "tuple[float, float] | tuple[int, int]" and value == [1, 2]
    return ("Literal" in words and (has_bool or whole)) or large or pair


def validated(text: str, parts: Parts) -> Config | None:
    try:
        return ConfigValidator(parse(text, "c.yaml"), parts).config()
    except ConfigError:
        return None


def nested(value: Any) -> Iterator[PartSpec]:
    if isinstance(value, PartSpec):
        yield value
        value = value.arguments
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    inner = inner or (vars(value).values() if hasattr(value, "__dataclass_fields__") else ())
    for item in inner:
        yield from nested(item)


def refused_by_class(part: PartSpec) -> list[str]:
    """Arguments that the class itself does not have, or whose type its annotation refuses."""
    known = constructor_arguments(part_class(part.kind, part.name))
    required = {name for name, argument in known.items() if argument.default is inspect.Parameter.empty}
    wrong = sorted(required - part.arguments.keys() - set(REGISTRIES[KINDS[part.kind]].injected))
    for name, value in part.arguments.items():
        if name not in known:
            wrong.append(name)
        elif not any(nested(value)):
            taken, again = strictly(known[name].annotation, to_plain(value))
            wrong += [] if taken and (again == value or isinstance(value, dict)) else [name]
    return wrong


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_is_accepted_is_what_the_classes_take(path: Path, parts: Parts) -> None:
    good = yaml.safe_load(path.read_text())
    texts = [path.read_text(), *(yaml.dump(mutated(good, seed)) for seed in range(8))]
    found = [validated(text, parts) for text in texts]
    assert found[0] is not None
    assert None in found  # most mutations are mistakes
    for config in found:
        assert [(part.name, wrong) for part in nested(config) if (wrong := refused_by_class(part))] == []


class Own:
    """A part of somebody's own.

    Args:
        size (int): how large it is, in pixels
        where: a folder
    """

    def __init__(self, size: annotated_types.Annotated[int, annotated_types.Gt(0)], where: Path = Path("a")) -> None:
        self.size, self.where = size, where


def test_types_of_ones_own_are_read_by_pydantic() -> None:
    schema = signature_schema(Own, {})
    assert schema["properties"]["size"]["description"] == "how large it is, in pixels"
    assert read_value(schema["properties"]["where"], "b") == Path("b")
    with pytest.raises(MisfitError):
        read_value(schema["properties"]["where"], 3)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "exclusiveMinimum": 0}, "a whole number greater than 0"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "a number from 0 to 1"),
        ({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]}, "a list of numbers, or null"),
        ({"enum": ["same", 3]}, "'same' or 3"),
        ({"$ref": "#/$defs/losses"}, "a loss (a name, or a mapping with 'name')"),
        ({"type": "array", "items": {"$ref": "#/$defs/heads"}}, "a list, each head (a name, or a mapping with 'name')"),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 2}, "a list of 2 numbers"),
    ],
)  # fmt: skip
def test_types_in_words(schema: Schema, words: str) -> None:
    assert describe_type(schema) == words


def test_class_weights_are_told_as_people_say_it(parts: Parts) -> None:
    schema = parts.part("loss", "cross_entropy")["properties"]["class_weights"]
    assert describe_type(schema) == "a list of numbers or a preset's name, or null"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            "model.backbone={name: timm, model: resnet81}",
            "no timm net is called 'resnet81'; did you mean 'resnet18'",
            marks=of_newest,
        ),
        (
            "model.backbone={name: smp, encoder: resnet43}",
            "no smp encoder is called 'resnet43'; did you mean 'resnet34'",
        ),
        ("data.classes=camvd", "no class preset is called 'camvd'; did you mean 'camvid11'"),
        ("model.head.loss={name: cross_entropy, class_weights: median}", "no class weighting is called 'median'"),
        ("data.train.transforms=[{name: Affine, scale: [a, 2]}]", "wanted a list of 2 numbers, a number, or a mapping"),
        ("data.train.transforms=[Normalize]", "'Normalize' cannot be used here"),
        ("data.train.transforms=[HorizontalFlp]", "did you mean 'HorizontalFlip'"),
        ("model.head.spec=3", "is not set by hand"),
        ("model.neck=nothing", "no neck is called 'nothing'"),
        ("train.optimizer={name: adamw, momentum: 0.9}", "optimizer 'adamw' has no parameter 'momentum'"),
        ("train.epoch=3", "has no key 'epoch'"),
    ],
)
def test_a_first_mistake_is_told_without_torch(change: str, words: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom toolkit.cli.main import run\n"
        f"code = run(['train', {str(CONFIGS[0].parents[0] / 'tiny/unet_shapes.yaml')!r}, {change!r}])\n"
        "slow = {'torch', 'numpy', 'cv2', 'albumentations', 'pydantic', 'timm'} & set(sys.modules)\n"
        "print(code, sorted(slow))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "2 []\n"
    assert words in done.stderr


def test_a_sound_config_is_read_without_torch() -> None:
    code = "import sys, toolkit.config.load as load\n"
    code += f"for path in {[str(path) for path in CONFIGS]!r}: load.load_config(path)\n"
    code += "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_changed_signature_is_noticed(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_current(parts.schema)
    found = Path.read_text
    for old, new in (("smooth:", "smoother:"), ('register("dice")', 'register("dice2")')):
        monkeypatch.setattr(
            Path, "read_text", lambda path, *a, _o=old, _n=new, **k: found(path, *a, **k).replace(_o, _n)
        )
        assert not is_current(parts.schema)
    monkeypatch.setattr(Path, "read_text", lambda path, *a, **k: found(path, *a, **k).replace("raise ", "raise  "))
    assert is_current(parts.schema)  # what a body does is no signature


def test_a_name_that_a_program_registers_is_known(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = REGISTRIES["losses"]
    monkeypatch.setitem(registry._classes, "mine", registry.find("dice"))
    text = (CONFIGS[0].parents[0] / "tiny/unet_shapes.yaml").read_text()
    source = parse(text, "c.yaml")
    source.values["model"]["head"]["loss"] = {"name": "mine", "smooth": 1.0}
    config = ConfigValidator(source, parts).config()
    assert config.model.head.arguments["loss"].arguments == {"smooth": 1.0}
