"""Starting from another model's weights: what fits is taken, classes are matched by name, and everything is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from toolkit.contracts import ClassRows
from toolkit.errors import CheckpointError, Problem, Where, did_you_mean, listed
from toolkit.models.vision_model import VisionModel
from toolkit.weights.channels import for_other_channels

_SHOWN = 3


class Transfer(NamedTuple):
    """What `transfer` did. Names of the model's tensors, except `unused`, which are the file's.

    Args:
        loaded: names of tensors that are now as in the file.
        matched: rows of the classes that both know, by name; other rows keep their start values.
        mismatched: names of tensors of another shape, left as they were.
        missing: names of tensors that are not in the file, left as they were.
        unused: names of tensors that only the file has.
        known: classes of the model that the file knows; empty when it names no classes.
        new: classes of the model that the file does not know; empty when it names no classes.
        reshaped: what was made to fit, {name: how}: the first convolution of a net for gray images from one for RGB, or
            the reverse.
        sources: for tensors that were renamed before, the name that the file has.
    """

    loaded: tuple[str, ...]
    matched: tuple[str, ...]
    mismatched: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    known: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    reshaped: Mapping[str, str] = {}
    sources: Mapping[str, str] = {}

    def as_json(self, left: Mapping[str, str]) -> dict[str, Any]:
        """Every tensor accounted for: {"taken", "reshaped", "left", "missing"}, and the classes that were found by name.

        left: by the file's names, why a tensor was left before it came here.
        """
        unused = dict.fromkeys(self.unused, "the model has no such tensor")
        other = dict.fromkeys(self.mismatched, "of another shape")
        here = {self.sources.get(name, name): why for name, why in {**unused, **other}.items()}
        return {
            "taken": [*self.loaded, *self.matched],
            "reshaped": dict(self.reshaped),
            "left": {**left, **here},
            "missing": [*self.missing, *self.mismatched],
            "classes": {"known": list(self.known), "new": list(self.new)},
        }

    def lines(self) -> list[str]:
        """The report for people, a few lines."""
        taken = len(self.loaded) + len(self.matched) + len(self.reshaped)
        lines = [f"{taken} of {taken + len(self.mismatched) + len(self.missing)} tensors loaded"]
        if self.matched:
            words = f"{len(self.known)} classes matched by name in {listed(self.matched, _SHOWN)}"
            lines.append(words + (f"; new: {listed(self.new, 12)}" if self.new else ""))
        lines += [f"{name}: {how}" for name, how in self.reshaped.items()]
        for what, names in (
            ("of another shape, left as they were", self.mismatched),
            ("not in the file, left as they were", self.missing),
            ("of the file unused", self.unused),
        ):
            if names:
                lines.append(f"{len(names)} {what}: {listed(names, _SHOWN)}")
        return lines


def transfer(
    model: VisionModel,
    state: Mapping[str, Tensor],
    classes: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    where: Where = "",
) -> Transfer:
    """Copies into a model what fits of another model's state dict.

    Raises CheckpointError when nothing fits, or a name to be changed does not occur.

    Args:
        model: the model whose tensors are overwritten.
        state: tensors by name, of the other model.
        classes: classes of the model the weights are of, in the order of its labels; () when unknown. In the layers
            that have rows for each class (the last of a head) a class gets its own row, wherever it stands in the two
            lists, and a class that the file does not know keeps its start values. Without them such a layer is taken
            when its shape fits.
        renamed: name prefixes in the file and what they are called in the model, {head.classifier: neck.project}.
        where: the file that messages begin with.
    """
    state = _renamed(state, renamed or {}, where)
    own = model.state_dict()
    rows = _class_rows(model) if classes and tuple(classes) != model.classes else {}
    changed: dict[str, Tensor] = {}
    matched, mismatched, reshaped = [], [], dict[str, str]()
    first = _first_convolution(model)
    for name in (name for name in own if name in state):
        mine, given = own[name], state[name]
        if name in rows and _only_rows_differ(mine, given, rows[name], len(model.classes), len(classes)):
            changed[name] = _rows_by_name(mine, given, rows[name], model.classes, classes)
            matched.append(name)
        elif mine.shape == given.shape:
            changed[name] = given
        elif name == first and (how := for_other_channels(mine, given)):
            changed[name], reshaped[name] = how
        else:
            mismatched.append(name)
    if own and not changed:
        raise CheckpointError(_nothing_fits(own, state, mismatched, where))
    model.load_state_dict(changed, strict=False)
    return Transfer(
        loaded=tuple(name for name in changed if name not in matched and name not in reshaped),
        matched=tuple(matched),
        mismatched=tuple(mismatched),
        missing=tuple(name for name in own if name not in state and not name.endswith("num_batches_tracked")),
        unused=tuple(name for name in state if name not in own),
        known=tuple(name for name in model.classes if name in classes),
        new=tuple(name for name in model.classes if classes and name not in classes),
        reshaped=reshaped,
    )


def _first_convolution(model: VisionModel) -> str:
    """Name of the weight that meets the pixels, "" when the backbone has no convolution."""
    names = (name for name, module in model.backbone.named_modules() if isinstance(module, nn.Conv2d))
    name = next(names, None)
    return "" if name is None else f"backbone.{name}.weight"


def _class_rows(model: VisionModel) -> dict[str, ClassRows]:
    """The model's tensors that have rows for each class."""
    names = {module: name for name, module in model.named_modules()}
    return {
        f"{names[layer]}.{kind}": rows
        for layer, rows in model.head.class_layers().items()
        for kind in ("weight", "bias")
    }


def _only_rows_differ(mine: Tensor, given: Tensor, rows: ClassRows, count: int, file_count: int) -> bool:
    lengths = [rows.before + rows.each * number for number in (count, file_count)]
    return [mine.shape[0], given.shape[0]] == lengths and mine.shape[1:] == given.shape[1:]


def _rows_by_name(
    mine: Tensor, given: Tensor, rows: ClassRows, classes: Sequence[str], file_classes: Sequence[str]
) -> Tensor:
    result = mine.clone()
    result[: rows.before] = given[: rows.before].to(mine)
    places = {name: position for position, name in enumerate(file_classes)}
    for position, name in enumerate(classes):
        if name in places:
            to, source = (rows.before + rows.each * place for place in (position, places[name]))
            result[to : to + rows.each] = given[source : source + rows.each].to(mine)
    return result


def _renamed(state: Mapping[str, Tensor], changes: Mapping[str, str], where: Where) -> dict[str, Tensor]:
    """The state dict with the beginnings of its names changed; whole parts of a name only."""
    result, used = {}, set[str]()
    for name, tensor in state.items():
        old = next((old for old in changes if name == old or name.startswith(f"{old}.")), None)
        if old is not None:
            used.add(old)
            name = changes[old] + name[len(old) :]
        result[name] = tensor
    parts = {name.rpartition(".")[0] for name in state}
    problems = [
        Problem(where, f"has no tensor whose name begins with '{old}'", did_you_mean(old, parts))
        for old in changes
        if old not in used
    ]
    if problems:
        raise CheckpointError(problems)
    return result


def _nothing_fits(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], mismatched: Sequence[str], where: Where
) -> Problem:
    if mismatched:
        name = mismatched[0]
        shapes = f"{tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        return Problem(where, f"no tensor fits this model: {name} is {shapes}", "it is of another architecture")
    message = (
        f"shares no tensor with this model: it has {listed(list(state), _SHOWN)}, the model {listed(list(own), _SHOWN)}"
    )
    return Problem(where, message, "model.init_rename changes the beginnings of names")
