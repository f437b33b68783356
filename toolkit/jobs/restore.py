"""From a weights file, a run folder or a state back to a model: the file carries its config, classes and statistics."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from packaging.version import Version
from torch import Tensor

from toolkit.config.load import parse_config
from toolkit.config.paths import weights_file
from toolkit.config.sections import Config, DataSection
from toolkit.data.classes.tables import class_table
from toolkit.data.object_sizes import ObjectSizes
from toolkit.errors import CheckpointError, ConfigError, Place, Problem, UserError
from toolkit.export.engine_model import EngineModel
from toolkit.export.foreign import foreign_model
from toolkit.export.metadata import EXPORT, FORMAT
from toolkit.export.programs import Run, is_program, load_program
from toolkit.jobs.build import build_model
from toolkit.jobs.build_data import build_transforms
from toolkit.jobs.conventions import as_trained
from toolkit.jobs.start_from import given_weights, start_from
from toolkit.labels import ClassTable
from toolkit.layers.shapes_only import shapes_only
from toolkit.models.transfer import Transfer
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import load_into, read_weights, refuse_misfit
from toolkit.version import __version__
from toolkit.weights.published import sha256_of

log = logging.getLogger(__name__)


class Restored(NamedTuple):
    """A trained model with what was saved beside its weights.

    Args:
        model: the model, ready to predict, in eval mode, on the CPU.
        config: the config the model was trained with.
        path: file that the weights come from.
        metadata: what the file says of itself, by name.
    """

    model: VisionModel
    config: Config
    path: Path
    metadata: dict[str, Any]


def restore(path: str | Path, overrides: Sequence[str] = (), *, trust_code: bool = False) -> Restored:
    """Model and config from a weights file or run folder.

    Args:
        path: a weights file or run folder.
        overrides: "data.root=elsewhere" strings that change the stored config.
        trust_code: whether parts of the form module:Class that the file names are imported, which runs their module.

    Raises CheckpointError for a missing, damaged or foreign file, ConfigError for bad overrides, among them those that
    make another model than the weights are of, or other classes.
    """
    file = weights_file(path)
    if is_program(file):
        return _restored_program(file, overrides, trust_code=trust_code)
    state, metadata = read_weights(file)
    text = metadata.get("config")
    if not isinstance(text, str) or not metadata.get("classes"):
        message = "holds weights but no config: it was not written by this toolkit's training"
        raise CheckpointError(Problem(file, message, "use it as model.init_from of a config"))
    with _versions_told(metadata.get("toolkit")):
        config = as_trained(
            parse_config(text, f"{file} (config)", overrides, trust=trust_code), _noted(metadata), file, overrides
        )
        return _restored_weights(file, config, state, metadata, overrides)


def _restored_weights(
    file: Path, config: Config, state: Mapping[str, Tensor], metadata: dict[str, Any], overrides: Sequence[str]
) -> Restored:
    """The model of a weights file, filled; `restore` says what is raised."""
    table = _stored_table(metadata, file)
    _refuse_other_classes(config, table.names, file)
    try:
        model = _filled_model(config, table, state, file)
        if config.data.val is not None:
            model.transforms = tuple(build_transforms(config, "val"))
        model.category_ids = _stored_ids(metadata, table)
        model.object_sizes = ObjectSizes.read(metadata.get("object_sizes"))
    except CheckpointError as error:
        raise _other_model(error, overrides) from error
    except UserError as error:  # not the command line's fault: name the file
        raise error if overrides else CheckpointError(in_file(problem, file) for problem in error.problems) from error
    return Restored(model.eval(), config, file, metadata)


@contextmanager
def _versions_told(written: Any) -> Iterator[None]:
    """What is wrong with a file says, too, that another version of this package wrote it; a later one is warned of."""
    if isinstance(written, str) and _is_later(written):
        log.warning(
            "the file was written by a later toolkit, %s; this is %s, which does not know what is new",
            written,
            __version__,
        )
    try:
        yield
    except UserError as error:
        if not isinstance(written, str) or written == __version__:
            raise
        note = f"the file was written by toolkit {written}, and this is {__version__}"
        raise type(error)(
            Problem(one.place, f"{one.message} ({note})", one.suggestion) for one in error.problems
        ) from error


def _is_later(version: str) -> bool:
    """Whether it is that of a later toolkit than this one; False for a text that is no version."""
    try:
        return Version(version) > Version(__version__)
    except ValueError:  # packaging's InvalidVersion, too
        return False


def _restored_program(file: Path, overrides: Sequence[str], *, trust_code: bool) -> Restored:
    """An exported file as a model whose forward pass its engine computes. Raises CheckpointError for somebody else's."""
    run = load_program(file)
    if run.notes is None or not isinstance(run.metadata.get("config"), str):
        model, said = foreign_model(run, overrides)
        about = {"classes": list(model.classes), "said": said, EXPORT: {"weights": sha256_of(file)}}
        return Restored(model, None, file, about)  # type: ignore[arg-type]
    written = run.notes.get("toolkit")
    if run.notes.get("format") != FORMAT:
        message = f"is an export of form {run.notes.get('format')}, and this toolkit reads form {FORMAT}"
        remedy = f"toolkit {written} wrote it, and this is {__version__}: export the checkpoint with this one"
        raise CheckpointError(Problem(file, message, remedy))
    with _versions_told(written):
        return _filled_program(file, run, overrides, trust_code=trust_code)


def _filled_program(file: Path, run: Run, overrides: Sequence[str], *, trust_code: bool) -> Restored:
    """The model around an exported file that this toolkit wrote."""
    text = run.metadata["config"]
    # A loss asks for the maps of the net, which the program keeps to itself.
    config = parse_config(text, f"{file} (config)", [*overrides, "evaluate.loss=false"], trust=trust_code)
    if ((run.notes or {}).get("input") or {}).get(
        "height"
    ) is not None:  # for pictures of one size, as they are in their files
        config = dataclasses.replace(config, data=_unresized(config.data))
    changed = [override for override in overrides if override.startswith(("model.", "+model.", "~model."))]
    if changed:
        message = f"{' '.join(changed)}: what an exported file computes is fixed"
        raise ConfigError(Problem(file, message, "export the checkpoint anew with it"))
    table = _stored_table(run.metadata, file)
    model = build_model(config, pretrained=False, classes=table)
    model.samples = 1
    if config.data.val is not None:
        model.transforms = tuple(build_transforms(config, "val"))
    model.category_ids = _stored_ids(run.metadata, table)
    return Restored(EngineModel(model, run), config, file, run.metadata)


def _unresized(data: DataSection) -> DataSection:
    """The data without what happens to pictures of val and test before the model: the program does it."""
    splits = {name: getattr(data, name) for name in ("val", "test")}
    bare = {name: dataclasses.replace(one, transforms=[]) for name, one in splits.items() if one is not None}
    return dataclasses.replace(data, **bare)


def _noted(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The conventions a weights file notes; none where it is older than they are."""
    noted = metadata.get("conventions")
    return {str(key): str(value) for key, value in noted.items()} if isinstance(noted, dict) else {}


def _stored_table(metadata: Mapping[str, Any], file: Path) -> ClassTable:
    """Classes and palette of a file's metadata. Raises CheckpointError for anything else than names and colours."""
    names: Any = metadata.get("classes")
    palette = metadata.get("palette") or []
    is_named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    is_painted = isinstance(palette, list) and all(
        isinstance(color, list) and len(color) == 3 and all(type(part) is int and 0 <= part <= 255 for part in color)
        for color in palette
    )
    if not is_named or not is_painted or len(palette) not in (0, len(names)):
        message = "is damaged: its metadata should hold the classes' names and a colour for each"
        raise CheckpointError(Problem(file, message))
    return ClassTable(tuple(names), tuple((r, g, b) for r, g, b in palette))


def _stored_ids(metadata: Mapping[str, Any], table: ClassTable) -> tuple[int, ...]:
    """Ids of the classes in the training data's files; () where the file has none, or none for each class."""
    ids = metadata.get("category_ids")
    sound = isinstance(ids, list) and len(ids) == len(table.names) and all(type(number) is int for number in ids)
    return tuple(ids) if sound and ids else ()


def _filled_model(config: Config, table: ClassTable, state: Mapping[str, Tensor], file: Path) -> VisionModel:
    """The model with the file's weights. What the config describes is compared with the tensors before it is built.

    So a file that asks for a model of a terabyte is refused and not tried.
    """
    outline: VisionModel | None = None
    with (
        suppress(UserError),
        shapes_only(),
    ):  # somebody's own part may need numbers; building it says what is wrong with it
        outline = build_model(config, pretrained=False, classes=table)
    if outline is not None:
        refuse_misfit(outline, state, where=file, classes=table.names)
    model = build_model(config, pretrained=False, classes=table)
    load_into(model, state, where=file, classes=table.names)
    return model


def in_file(problem: Problem, file: Path) -> Problem:
    """A problem of the config that a weights file holds."""
    return problem.at(Place(f"{file} (config)", key=problem.where))


def _refuse_other_classes(config: Config, names: Sequence[str], file: Path) -> None:
    """What a class is called is the checkpoint's to say: a list laid over it would rename predictions silently."""
    wanted = class_table(config.data.classes).names if config.data.classes is not None else tuple(names)
    if wanted != tuple(names):
        message = f"names {len(wanted)} classes ({', '.join(wanted)}), but {file} was trained on {len(names)} ({', '.join(names)})"
        raise ConfigError(
            Problem("data.classes", message, "leave it out, or train on those classes with model.init_from")
        )


def _other_model(error: CheckpointError, overrides: Sequence[str]) -> CheckpointError | ConfigError:
    """A file that does not fit a model which the command line changed: that is the command line's fault."""
    changed = [override for override in overrides if override.startswith("model.")]
    if not changed:
        return error
    remedy = f"leave out {' '.join(changed)}: the checkpoint carries the model it belongs to"
    return ConfigError(problem.advising(remedy) for problem in error.problems)


def load_model(path: str | Path, *, trust_code: bool = False) -> VisionModel:
    """A model ready to predict from a weights file or run folder; it knows its classes and pixel statistics.

    trust_code: whether parts of the form module:Class that the file names are imported, which runs their module.
    """
    return restore(path, trust_code=trust_code).model


def initialise(model: VisionModel, config: Config) -> Transfer | None:
    """Fills a fresh model from `model.init_from`, if the config has one; what was taken and what was left.

    The file may be a run folder, any .safetensors, a .pth or .pt state dict of this toolkit, torchvision, timm or smp, or
    the name of weights that torchvision publishes; classes are matched by name where the weights say their own.
    Raises CheckpointError when there is no such file, or nothing in it fits.
    """
    section = config.model
    if section.init_from is None:
        if section.init_rename:
            message = "changes names in the file of model.init_from, but the config names none"
            raise ConfigError(Problem("model.init_rename", message, "set model.init_from, or remove it"))
        return None
    given = given_weights(section.init_from)
    return start_from(model, section.backbone.name, given, renamed=section.init_rename)[0]
