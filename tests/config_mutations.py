"""Configs as accidents and malice make them: one or a few changes to a good one, a function of the seed."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 10**9, 10**18, 10**30, -(10**30), 0.0, 0.5, -0.5, 1.5, 1e-300, 1e308,
    math.nan, math.inf, -math.inf, "", " ", "yes", "1", "1e3", "resnet", "HorizontalFlip", "cross_entropy", "pixel",
    "no_such_module:Net", "os:system", "toolkit.errors:UserError", ":", "a:b:c", "é", "\u202e", "\x1b[31m", "🦆" * 20,
    "x" * 5000, "../../etc/passwd", "/dev/null", "${HOME}", "!!python/object/apply:os.system [id]", [], [[]], [None],
    [1, 2], ["a", "b"], [0.1, 0.2, 0.3], [[1, 2], [3, 4]], [{}], {}, {"name": None}, {"name": 3}, {"name": []},
    {"name": "resnet"}, {"name": "nothing"}, {"x": 1}, {1: 2}, {None: None}, {True: {"name": "dice"}}, {"name": {"name": "x"}},
    list(range(300)), {str(i): i for i in range(100)},
)  # fmt: skip

Path_ = tuple[Any, ...]


def places(value: Any, path: Path_ = ()) -> list[Path_]:
    """Paths of everything in a tree of plain values but its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((*path, key), *places(item, (*path, key)))]


def mutated(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """A deep copy with one to three changes."""
    chance = random.Random(seed)
    changed = copy.deepcopy(config)
    for _ in range(chance.choice((1, 1, 2, 3))):
        paths = places(changed)
        if not paths:
            break
        _change(changed, chance.choice(paths), paths, chance)
    return changed


def _change(root: Any, path: Path_, paths: list[Path_], chance: random.Random) -> None:
    parent = root
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    kind = chance.choice(("value", "value", "value", "drop", "rename", "swap", "add", "wrap", "deep"))
    if kind == "value":
        parent[key] = copy.deepcopy(chance.choice(ODD_VALUES))
    elif kind == "drop":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[misspelt(str(key), chance)] = parent.pop(key)
    elif kind == "swap":
        parent[key] = copy.deepcopy(value_at(root, chance.choice(paths)))
    elif kind == "add" and isinstance(parent, dict):
        parent[chance.choice(("extra", "name", "lr", "weights", "spec", "num_classes", "root", "p", 0, None))] = 1
    elif kind == "wrap":
        parent[key] = chance.choice(([parent[key]], {"name": parent[key]}, {key: parent[key]}, str(parent[key])))
    elif kind == "deep":
        for _ in range(chance.choice((3, 30))):
            parent[key] = [parent[key]] if chance.random() < 0.5 else {"name": parent[key]}


def value_at(root: Any, path: Path_) -> Any:
    """The value at a path."""
    for key in path:
        root = root[key]
    return root


def misspelt(word: str, chance: random.Random) -> str:
    """The word with one letter dropped, doubled, swapped with the next or in the other case."""
    at = chance.randrange(max(len(word), 1))
    return chance.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at : at + 1] * 2 + word[at + 1 :],
            word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
            word.swapcase(),
            word + "s",
        )
    )


def garbled(data: bytes, seed: int) -> bytes:
    """The bytes with some flipped, cut out, doubled, or replaced by something a YAML reader may stumble over."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(changed) + 1)
        kind = chance.choice(("flip", "cut", "end", "insert", "double", "line"))
        if kind == "flip" and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del changed[at : at + chance.choice((1, 3, 40))]
        elif kind == "end":
            del changed[at:]
        elif kind == "insert":
            changed[at:at] = chance.choice(INSERTS)
        elif kind == "double":
            changed[at:at] = changed[at : at + chance.choice((5, 60))]
        elif kind == "line":
            lines = bytes(changed).splitlines(keepends=True)
            chance.shuffle(lines)
            changed = bytearray(b"".join(lines))
    return bytes(changed)


INSERTS = (
    b"\t", b"\n", b"\r", b"\0", b"\x80", b"\xff\xfe", b"\xef\xbb\xbf", b": ", b"- ", b"? ", b"{", b"}", b"[", b"]", b"&a ",
    b"*a ", b"<<: *a", b"!!python/object/apply:os.system ['echo owned']", b"!!binary aGk=", b"!!set {a}", b"!!timestamp 2001-01-01",
    b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"# ", b"'", b'"', b"|", b">", b"\\", b"\xe2\x80\xae", b"\xf0\x9f\xa6\x86",
    b"9" * 5000, b"." * 300, b"[" * 300, b"{a: " * 300, b"- " * 300, b"1e999999", b"0x1F", b"0o17", b"1_000", b"~", b"=",
    b"\ntrain:\n  steps: 3\n", b"\xed\xa0\x80", b"\xc2\x85", b"\x1b]0;x\x07",
)  # fmt: skip
