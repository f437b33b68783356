"""Checkpoints as broken disks and malice make them: changed copies of a good file, a function of the seed."""

from __future__ import annotations

import json
import random
from typing import Any

import yaml
from config_mutations import ODD_VALUES, garbled, mutated, places

LENGTHS = (0, 1, 7, 8, 2**20, 2**31, 2**32, 2**63 - 1, 2**64 - 1)
DTYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E4M3",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "U64",
    "BOOL",
    "C64",
    "X",
    "",
    None,
    3,
)


def safetensors_parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """(header, tensors' bytes) of a file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def safetensors_file(header: Any, tensors: bytes) -> bytes:
    """The inverse; the header may be anything JSON can hold, or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


def mutated_weights(data: bytes, seed: int) -> bytes:
    """A safetensors file with a change in its bytes, its header's length, its tensors' table or its metadata."""
    chance = random.Random(seed)
    header, tensors = safetensors_parts(data)
    kind = chance.choice(
        ("bytes", "flips", "length", "text", "table", "table", "metadata", "metadata", "config", "config")
    )
    if kind == "bytes":
        return garbled(data, seed)
    if kind == "flips":
        changed = bytearray(data)
        for _ in range(200):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if kind == "length":
        length = chance.choice((*LENGTHS, len(data), len(data) - 8, len(data) - 9))
        return length.to_bytes(8, "little") + data[8:]
    if kind == "text":
        return safetensors_file(garbled(json.dumps(header).encode(), seed), tensors)
    if kind == "table":
        _change_table(header, chance)
    elif kind == "metadata":
        header["__metadata__"] = _changed_metadata(header["__metadata__"], chance, seed)
    else:
        config = yaml.safe_load(json.loads(header["__metadata__"]["config"]))
        header["__metadata__"]["config"] = json.dumps(yaml.dump(mutated(config, seed)))
    return safetensors_file(header, tensors)


def _change_table(header: dict[str, Any], chance: random.Random) -> None:
    name = chance.choice([name for name in header if name != "__metadata__"])
    entry = header[name]
    kind = chance.choice(("dtype", "shape", "offsets", "drop", "rename", "odd", "key"))
    if kind == "dtype":
        entry["dtype"] = chance.choice(DTYPES)
    elif kind == "shape":
        entry["shape"] = chance.choice(
            ([], [0], [-1], [2**40, 2**40], [1] * 100, [1.5], "x", None, entry["shape"][::-1])
        )
    elif kind == "offsets":
        start, end = entry["data_offsets"]
        entry["data_offsets"] = chance.choice(
            ([end, start], [0, 2**62], [start, end + 4], [-4, 0], [start], [], None, "x")
        )
    elif kind == "drop":
        del header[name]
    elif kind == "rename":
        header[chance.choice(("", "x", "../x", name + "\0", "é" * 50, name.upper()))] = header.pop(name)
    elif kind == "odd":
        header[name] = chance.choice(ODD_VALUES[:40])
    else:
        del entry[chance.choice(list(entry))]


def _changed_metadata(metadata: dict[str, str], chance: random.Random, seed: int) -> Any:
    odd = [value for value in ODD_VALUES if value == value and value not in (float("inf"), float("-inf"))]
    kind = chance.choice(("drop", "value", "value", "inside", "text", "aliases", "whole"))
    key = chance.choice(list(metadata))
    if kind == "drop":
        del metadata[key]
    elif kind == "value":
        metadata[key] = json.dumps(chance.choice(odd), default=str)
    elif kind == "inside":
        inside = mutated({key: json.loads(metadata[key])}, seed)
        metadata[key] = json.dumps(inside.get(key))
    elif kind == "text":
        metadata[key] = chance.choice(("", "{", "[" * 5000, "\0", "NaN", "1e999", "x" * 100_000, metadata[key][:-3]))
    elif kind == "aliases":
        metadata["shared_tensors"] = json.dumps(
            chance.choice(({"a": ["b"]}, {"a": {}}, {"a": "a"}, [], {"x": None}, 3))
        )
    else:
        return chance.choice((None, [], "x", {}, {"config": 3}, {"classes": "[]"}))
    return metadata


def mutated_state(state: dict[str, Any], seed: int) -> Any:
    """The content of a state file with one field, or something deep inside one, made something else."""
    import torch

    chance = random.Random(seed)
    odd = (
        *ODD_VALUES, torch.zeros(0), torch.tensor(float("nan")), torch.zeros(3, 3), torch.zeros(2, dtype=torch.int64),
        (1, 2), {"state": {}, "param_groups": []}, {0: {"exp_avg": 3}}, -1, 10**15, float("nan"),
    )  # fmt: skip
    if chance.random() < 0.05:
        return chance.choice(odd)
    changed: Any = _copied(state)
    inside = [path for path in places(changed) if len(path) > 1]
    path = chance.choice(inside) if inside and chance.random() < 0.6 else (chance.choice(list(changed)),)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if chance.random() < 0.2:
        del parent[path[-1]]
    else:
        parent[path[-1]] = chance.choice(odd)
    return changed


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
