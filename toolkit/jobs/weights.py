"""What `toolkit weights` does: weights of others listed, looked at, brought into this toolkit's names, proved."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from toolkit.config.load import parse_config
from toolkit.config.plain import to_plain, to_yaml
from toolkit.config.sections import Config
from toolkit.errors import CheckpointError, ConfigError, Problem, UserError, listed, missing_path
from toolkit.jobs.build import build_model
from toolkit.jobs.build_data import classes_of
from toolkit.jobs.conventions import conventions_of
from toolkit.jobs.guess_model import guess_model
from toolkit.jobs.start_from import Given, given_weights, start_from
from toolkit.labels import ClassTable, default_palette
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import save_weights, tensors_digest
from toolkit.weights.naming import Naming, naming_of, namings_of, recognised
from toolkit.weights.published import offers, published_as, sha256_of

log = logging.getLogger(__name__)

LIBRARIES = ("pip", "torchvision", "smp", "timm")
_WHOLE = {"torchvision": "torchvision's Faster R-CNN", "smp": "segmentation-models-pytorch's net"}
"""The tables of whole nets by library."""


def list_weights(libraries: Sequence[str], words: Sequence[str]) -> list[dict[str, Any]]:
    """Published weights whose name, use or licence has every word, as plain values; nothing is fetched.

    Args:
        libraries: which of `LIBRARIES` are asked.
        words: what a row must contain, whatever the case; () shows all.
    """
    rows = [offer.as_json() for library in libraries for offer in offers(library)]
    return [row for row in rows if all(word.lower() in " ".join(map(str, row.values())).lower() for word in words)]


def show_weights(path: str) -> dict[str, Any]:
    """What a file holds: tensors with shapes and types, what it says of itself, whose file it is.

    Raises CheckpointError for a file that is missing, damaged, or no file of tensors.
    """
    given = given_weights(path)
    tensors = {
        name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in given.state.items()
    }
    return {
        "file": given.source,
        "origin": _origin(given),
        "numbers": sum(tensor.numel() for tensor in given.state.values()),
        "tensors": tensors,
        "metadata": {key: value for key, value in given.metadata.items() if key != "config"},
        "config": given.metadata.get("config"),
        "classes": given.classes,
        "digest": tensors_digest(given.state),
    }


def _origin(given: Given) -> str:
    """Whose weights these are, as far as the file itself tells."""
    if "config" in given.metadata:
        return "a training of this toolkit"
    file = Path(given.source)
    offer = given.published or (published_as(file) if file.is_file() else None)
    if offer is not None:
        return f"{offer.name} of {offer.library}, byte for byte ({offer.licence}; {offer.source})"
    whole = recognised(given.state, namings_of("whole_nets"))
    if whole is not None:
        return f"{whole.about}, by its names"
    try:
        guess = guess_model(given.state, (), given.source, ordered=given.ordered)
    except UserError:
        return "not known"
    return f"fits {yaml.safe_dump(guess.model['backbone'], default_flow_style=True, sort_keys=False).strip()}"


def import_weights(
    path: str,
    out: Path,
    *,
    library: str | None = None,
    table: Path | None = None,
    config: Config | None = None,
    classes: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes weights of another library as a file of this toolkit, which `predict` and `model.init_from` take.

    Every tensor is accounted for: {"taken", "reshaped", "left", "missing"}. What the file lacks is freshly drawn from the
    config's seed. Raises UserError for files that cannot be read, names that are not known, and an `out` that exists.

    Args:
        path: the file, or torchvision's name of published weights.
        out: safetensors file that is written; never over another.
        library: whose names it has: "torchvision", "timm" or "smp"; None recognises them.
        table: the user's own table of names, in YAML; it says it all.
        config: the model it is for; None finds one that it fits.
        classes: names of the classes the file tells apart, where it does not say so itself.
    """
    if out.exists():
        raise ConfigError(Problem("--out", f"{out} exists already", "choose another name: --out FILE"))
    given = given_weights(path)
    naming = read_table(table) if table is not None else _of_library(given, library)
    names = list(classes) or given.classes
    if config is None:
        if table is not None:
            raise ConfigError(
                Problem("--map", "a table of names does not say which model they are of", "add --for CONFIG")
            )
        config = parse_config(guess_model(given.state, names, given.source, ordered=given.ordered).text, str(out))
        known = None
    else:
        known = classes_of(config) if config.data.classes is not None else None
    if known is None:
        asked = config.data.classes
        listed = list(asked) if isinstance(asked, list) else names
        if not listed:
            raise ConfigError(
                Problem("--for", "the config names no classes", "set data.classes, or say --classes a,b,c")
            )
        known = ClassTable(tuple(map(str, listed)), default_palette(len(listed)))
    torch.manual_seed(config.seed)
    model = build_model(config, pretrained=False, classes=known)
    taken, found = start_from(model, config.model.backbone.name, given, names, naming=naming)
    if classes:
        _refuse_other_number(model, found.tensors, classes)
    _say_not_finite(given)
    result = taken.as_json(found.left)
    metadata = {
        "classes": list(model.classes), "palette": [list(color) for color in model.palette],
        "pixel_stats": model.backbone.pixel_stats._asdict(), "config": to_yaml(config),
        "conventions": conventions_of(model.head), "imported": {"from": given.source, "as": found.about},
    }  # fmt: skip
    save_weights(out, model.state_dict(), metadata)
    section = to_plain(config)["model"]
    return {"file": given.source, "as": found.about, "out": str(out), **result, "model": section}


def _refuse_other_number(model: VisionModel, tensors: Mapping[str, Tensor], classes: Sequence[str]) -> None:
    """Names of classes that are not one for each row of the file's last layer would name the wrong rows."""
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ConfigError(Problem("--classes", f"names {listed(twice)} more than once", "each class has one name"))
    names = {module: name for name, module in model.named_modules()}
    for layer, rows in model.head.class_layers().items():
        tensor = tensors.get(f"{names[layer]}.weight")
        count = len(classes) if tensor is None else (len(tensor) - rows.before) // rows.each
        if count != len(classes):
            message = f"names {len(classes)} classes, but the file tells {count} apart"
            raise ConfigError(Problem("--classes", message, "name each, in the order of their labels"))


def _say_not_finite(given: Given) -> None:
    bad = [name for name, tensor in given.state.items() if not _finite(tensor)]
    if bad:
        log.warning("%s: numbers that are not finite in %s", given.source, listed(bad, 4))


def _of_library(given: Given, library: str | None) -> Naming | None:
    """The table of a library's whole nets, where the file is one; a file that is another's is refused."""
    whole = recognised(given.state, namings_of("whole_nets"))
    if library is None or whole is None or whole.about == _WHOLE.get(library):
        return whole
    message = f"has the names of {whole.about}, and not of {library}"
    raise CheckpointError(Problem(given.source, message, "leave out --from, or name the right library"))


def read_table(path: Path) -> Naming:
    """The user's table of names. Raises ConfigError for a file that is missing, no YAML, or no table."""
    if not path.is_file():
        raise ConfigError(missing_path("table of names", path, "--map"))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(Problem(path, f"is no YAML: {str(error).splitlines()[0]}")) from error
    return naming_of(content, str(path))


def verify_weights(path: str, config: Config | None = None) -> dict[str, Any]:
    """Whether a file is whole: its hash against the published one, every number finite, and its place in a model.

    Returns {"ok", "file", "sha256", "published", "finite", "fits", "problems"}. Raises UserError for a file that cannot
    be read at all.

    Args:
        path: the file, or a run folder.
        config: the model it should fill; None looks at the file alone.
    """
    given = given_weights(path)
    file = Path(given.source)
    offer = published_as(file) if file.is_file() else None
    bad = [name for name, tensor in given.state.items() if not _finite(tensor)]
    problems = [f"{name} holds numbers that are not finite" for name in bad[:8]]
    fits = None if config is None else _fits(config, given, problems)
    return {
        "ok": not problems,
        "file": given.source,
        "sha256": sha256_of(file) if file.is_file() else None,
        "published": offer.name if offer else None,
        "tensors": len(given.state),
        "finite": not bad,
        "fits": fits,
        "problems": problems,
    }


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _fits(config: Config, given: Given, problems: list[str]) -> dict[str, Any] | None:
    """What the model would take; tensors that it would miss are problems."""
    known = classes_of(config) if config.data.classes is not None else None
    names = given.classes or ["0", "1"]
    model = build_model(
        config, pretrained=False, classes=known or ClassTable(tuple(names), default_palette(len(names)))
    )
    try:
        taken, found = start_from(model, config.model.backbone.name, given)
    except UserError as error:
        problems += [str(problem) for problem in error.problems]
        return None
    result = taken.as_json(found.left)
    lacking: Mapping[str, Any] = result
    problems += [f"{name} is not in the file" for name in itertools.islice(lacking["missing"], 8)]
    return {
        key: result[key] if key != "taken" else len(result[key]) for key in ("taken", "reshaped", "left", "missing")
    }
