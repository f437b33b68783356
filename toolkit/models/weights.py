"""Weights on disk: safetensors, with what a reader must know beside them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.errors import CheckpointError, Problem, Where, missing_path
from toolkit.files import replacing
from toolkit.weights.read import format_of

_ALIASES = "shared_tensors"
"""Metadata entry: names of tensors that are stored under another name, as {name: stored name}."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


class LoadReport(NamedTuple):
    """What `load_into` did. Names of tensors, in the model's or the file's order.

    Args:
        loaded: names of tensors that are now as in the file.
        missing: names of tensors that the file has not.
        unexpected: names of tensors that the model has not.
        mismatched: both have it with different shapes; left as it was.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether file and model agree on every tensor."""
        return not (self.missing or self.unexpected or self.mismatched)


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors of a state dict, in hexadecimal: names, types, shapes and bytes, in the order of names.

    What else a file of weights says of itself does not count, nor does the device.

    >>> import torch
    >>> one = {"a": torch.zeros(2), "b": torch.ones(1)}
    >>> tensors_digest(one) == tensors_digest(dict(reversed(one.items()))), tensors_digest(one) == tensors_digest({})
    (True, False)
    """
    digest = sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_weights(path: Path | str, model_state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Writes a state dict as safetensors. The file appears whole or not at all (temporary file, fsync, rename).

    Tensors that share memory are stored once. Raises UserError when the disk refuses, TypeError for metadata that JSON
    cannot hold.

    Args:
        path: file to write, replaced when it is there.
        model_state: tensors by name, as `state_dict` gives them.
        metadata: anything JSON can hold, by name; conventionally classes, palette, pixel_stats (mean, std, bgr), config
            (the YAML text), toolkit (version), metrics and step.
    """
    from safetensors.torch import save_file

    path = Path(path)
    tensors, aliases = _without_shared(model_state)
    entries = {**metadata, _ALIASES: aliases} if aliases else dict(metadata)
    text = {name: json.dumps(value) for name, value in entries.items()}
    with replacing(path) as part:
        try:
            save_file(tensors, part, metadata=text)
        except Exception as error:  # safetensors wraps the disk's errors in a class of its own
            if type(error).__name__ != "SafetensorError":
                raise
            number = _OS_ERROR.search(str(error))
            raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from error


def _without_shared(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors on the CPU that own their memory, and the names that mean the same memory as another."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    storages: set[int] = set()
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and key in seen:
            aliases[name] = seen[key]
            continue
        seen[key] = name
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage().data_ptr()
        tensors[name] = own.clone() if storage in storages else own  # views of one memory: each gets its own
        storages.add(storage)
    return tensors, aliases


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(state dict on the CPU, metadata). Nothing in the file is executed.

    Metadata that is no JSON (files of other programs) stays text. Raises CheckpointError for a file that is missing,
    truncated or no safetensors file.
    """
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(missing_path("weights file", path))
    if format_of(path) == "torch":
        message = "is a file of torch.save, without the config of this toolkit's trainings"
        raise CheckpointError(Problem(path, message, "use it as model.init_from of a config"))
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            texts = file.metadata() or {}
    except Exception as error:  # a damaged header arrives as one of several classes; none is a defect of ours
        message = f"is no safetensors file, or a damaged one ({error})"
        raise CheckpointError(Problem(path, message, "fetch or copy it again")) from error
    metadata = {name: _parsed(text) for name, text in texts.items()}
    aliases = metadata.pop(_ALIASES, None)
    if isinstance(aliases, dict):
        known = {name: stored for name, stored in aliases.items() if isinstance(stored, str) and stored in state}
        state.update({name: state[stored] for name, stored in known.items()})
    return state, metadata


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def set_metadata(path: Path | str, name: str, value: Any) -> None:
    """Sets one entry of a safetensors file's metadata, None takes it away; the tensors stay as they are, byte for byte.

    The file is written anew beside itself and renamed. Raises CheckpointError for a file that is none, UserError when the
    disk refuses.

    Args:
        path: the file, which is replaced.
        name: name of the entry, which replaces one that is there.
        value: anything JSON can hold, or None.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= path.stat().st_size else None
    except (OSError, ValueError) as error:
        raise CheckpointError(Problem(path, f"is no safetensors file, or a damaged one ({error})")) from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise CheckpointError(Problem(path, "is no safetensors file, or a damaged one"))
    entries = {key: text for key, text in header.get("__metadata__", {}).items() if key != name}
    header["__metadata__"] = entries if value is None else {**entries, name: json.dumps(value)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors to begin at a multiple of 8
    with replacing(path) as part, part.open("wb") as new, path.open("rb") as old:
        new.write(len(text).to_bytes(8, "little") + text)
        old.seek(8 + length)
        shutil.copyfileobj(old, new, 1 << 20)


def load_into(
    model: nn.Module,
    state: Mapping[str, Tensor],
    strict: bool = True,
    where: Where = "",
    classes: Sequence[str] = (),
) -> LoadReport:
    """Copies a state dict into a model. Nothing is copied when it raises.

    Args:
        model: the model whose tensors are overwritten.
        state: tensors by name, as `state_dict` gives them.
        strict: every name and shape must agree, else CheckpointError names the first that do not; otherwise what fits
            is taken, and only a file of which nothing fits is an error.
        where: the file that messages begin with.
        classes: classes of the model that wrote the file, for the message (the model's own are its attribute
            `classes`).
    """
    report = refuse_misfit(model, state, strict, where, classes)
    model.load_state_dict({name: state[name] for name in report.loaded}, strict=False)
    return report


def refuse_misfit(
    model: nn.Module,
    state: Mapping[str, Tensor],
    strict: bool = True,
    where: Where = "",
    classes: Sequence[str] = (),
) -> LoadReport:
    """What `load_into` would do, or its CheckpointError; nothing is copied, so the model may be a blank one.

    Args:
        model: the model, which may be a blank one.
        state: tensors by name, as `state_dict` gives them.
        strict: whether every name and shape must agree; see `load_into`.
        where: the file that messages begin with.
        classes: classes of the model that wrote the file, for the message.
    """
    own = model.state_dict()
    mismatched = tuple(name for name in own if name in state and not _are_alike(state[name], own[name]))
    report = LoadReport(
        tuple(name for name in own if name in state and name not in mismatched),
        tuple(name for name in own if name not in state),
        tuple(name for name in state if name not in own),
        mismatched,
    )
    if (strict and not report.complete) or (own and not report.loaded):
        raise CheckpointError(_problems(report, own, state, where, classes, getattr(model, "classes", ())))
    return report


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape


def _are_alike(one: Tensor, other: Tensor) -> bool:
    """Of one shape, and both of fractions or both of whole numbers; how many bits a number has may differ."""
    return _same(one, other) and one.is_floating_point() == other.is_floating_point() and not one.is_complex()


def _problems(
    report: LoadReport,
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    where: Where,
    file_classes: Sequence[str],
    model_classes: Sequence[str],
) -> list[Problem]:
    shapes = [
        f"{n} is {tuple(state[n].shape)}, wanted {tuple(own[n].shape)}"
        for n in report.mismatched
        if not _same(state[n], own[n])
    ]
    kinds = [f"{n} is {state[n].dtype}, wanted {own[n].dtype}" for n in report.mismatched if _same(state[n], own[n])]
    faults = [
        ("tensors have another shape", shapes),
        ("tensors hold numbers of another kind", kinds),
        ("tensors are missing", report.missing),
        ("tensors are not in this model", report.unexpected),
    ]
    problems = [
        Problem(where, f"{len(names)} {what}: {'; '.join(names[:3])}{' ...' if len(names) > 3 else ''}")
        for what, names in faults
        if names
    ]
    if tuple(file_classes) != tuple(model_classes):
        lists = [f"{len(names)} ({', '.join(names) or 'unknown'})" for names in (file_classes, model_classes)]
        problems.append(Problem(where, f"classes of the file: {lists[0]}; classes of the model: {lists[1]}"))
    return problems
