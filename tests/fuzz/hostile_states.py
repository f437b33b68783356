"""State files that want more than to be read: code in a pickle, sizes that no memory holds, tensors that are none."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def code(marker: Path) -> dict[str, Any]:
    """Objects that leave a file `marker` behind when a careless reader unpickles them."""
    shell = f"touch {marker}"
    return {
        "os.system": _Calls(os.system, shell),
        "eval": _Calls(eval, f"open({str(marker)!r}, 'w')"),
        "exec": _Calls(exec, f"open({str(marker)!r}, 'w')"),
        "open": _Calls(open, str(marker), "w"),
        "getattr": _Calls(getattr, _Calls(__import__, "os"), "system"),
        "torch.load": _Calls(torch.load, str(marker)),
        "torch.hub": _Calls(torch.hub.load, str(marker.parent), "x"),
        "apply": _Calls(map, os.system, [shell]),
    }


def zipped(content: bytes, change: Callable[[str, bytes], bytes | None] | None = None, method: int = 0) -> bytes:
    """A state file taken apart and put together again, each record changed, left out (None) or compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            data = change(name, old.read(name)) if change else old.read(name)
            if data is not None:
                new.writestr(name, data)
    return out.getvalue()


def whole_files(state: dict[str, Any], good: bytes, marker: Path) -> dict[str, bytes]:
    """Files by what is wrong with them."""
    calls = code(marker)
    made = {f"pickle {name}": pickle.dumps(call) for name, call in calls.items()}
    for protocol in (0, 2, 4):
        made[f"pickle in a field, protocol {protocol}"] = pickle.dumps({**state, "best": calls["os.system"]}, protocol)
    for name, call in calls.items():
        made[f"zip {name}"] = zipped(
            good, lambda record, data, c=call: pickle.dumps(c, 2) if "data.pkl" in record else data
        )
    made["legacy"] = _saved(state, _use_new_zipfile_serialization=False)
    made["deflated"] = zipped(good, method=zipfile.ZIP_DEFLATED)
    made["bomb"] = zipped(
        good, lambda record, data: b"\0" * (64 << 20) if record.endswith("/0") else data, zipfile.ZIP_DEFLATED
    )
    made["records gone"] = zipped(good, lambda record, data: None if "/data/" in record else data)
    made["records short"] = zipped(good, lambda record, data: data[:3] if "/data/" in record else data)
    made["no pickle"] = zipped(good, lambda record, data: None if "data.pkl" in record else data)
    made["opcodes"] = b"\x80\x02(" + b"]" * 100_000 + b"."
    made["deep"] = b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    made["long"] = b"\x80\x02\x8b\xff\xff\xff\x7f" + b"1" * 100
    made["bytes"] = b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"x"
    made["empty zip"] = b"PK\x05\x06" + b"\0" * 18
    made["tar"] = b"data".ljust(257, b"\0") + b"ustar\x0000"
    return made


def fields(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """States that load, with a field that cannot be meant."""
    name = next(name for name, tensor in state["model"].items() if tensor.dim() == 4)
    tensor = state["model"][name]
    first = next(iter(state["optimizer"]["state"]))
    moments = state["optimizer"]["state"][first]

    def with_tensor(value: Any) -> dict[str, Any]:
        return {**state, "model": {**state["model"], name: value}}

    def with_moment(key: str, value: Any) -> dict[str, Any]:
        changed = {**state["optimizer"]["state"], first: {**moments, key: value}}
        return {**state, "optimizer": {**state["optimizer"], "state": changed}}

    return {
        "NaN step": {**state, "step": float("nan")},
        "tensor step": {**state, "step": torch.tensor(3)},
        "true step": {**state, "step": True},
        "negative step": {**state, "step": -1},
        "huge step": {**state, "step": 10**30},
        "step beyond the end": {**state, "step": 10**6, "evaluated": 0},
        "text config": {**state, "config": "model: ["},
        "huge config": {**state, "config": "a: " + "[" * 100_000},
        "another config": {**state, "config": "model: 3"},
        "code in the config": {**state, "config": state["config"].replace("name: unet_encoder", "name: os:system")},
        "other classes": {**state, "classes": ["a"]},
        "optimizer of another model": {**state, "optimizer": {"state": {0: moments}, "param_groups": [{"params": [0]}]}},
        "optimizer groups": {**state, "optimizer": {"state": {}, "param_groups": [{"params": [0, 0, 0]}] * 3}},
        "NaN best": {**state, "best": {"value": float("nan"), "step": 1}},
        "best of other keys": {**state, "best": {"x": 1.0}},
        "expanded": with_tensor(torch.zeros(1).expand(1 << 40)),
        "expanded to a model": with_tensor(torch.zeros(1).expand(1 << 20, 1 << 20, 3, 3)),
        "meta": with_tensor(torch.empty(tensor.shape, device="meta")),
        "sparse": with_tensor(tensor.to_sparse()),
        "complex": with_tensor(tensor.to(torch.complex64)),
        "bool": with_tensor(tensor > 0),
        "quantized": with_tensor(torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)),
        "NaN weights": with_tensor(torch.full_like(tensor, float("nan"))),
        "moment of another shape": with_moment("exp_avg", torch.zeros(3)),
        "moment a number": with_moment("exp_avg", 3),
        "moment sparse": with_moment("exp_avg", moments["exp_avg"].to_sparse()),
        "moment whole numbers": with_moment("exp_avg", moments["exp_avg"].long()),
        "moment steps": with_moment("step", torch.zeros(7)),
        "moment unknown": with_moment("x", torch.zeros(7)),
        "window": {**state, "window": {"loss": "x"}},
        "scaler": {**state, "scaler": {"scale": float("nan"), "x": 3}},
        "average": {**state, "average": {"x": torch.zeros(3)}},
        "stale": {**state, "stale": -3},
    }  # fmt: skip


def _saved(value: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()
