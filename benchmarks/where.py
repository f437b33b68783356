"""Where the time of a row goes, and how far its ratio could fall at all: kernels and functions of one run of each way.

    python -m benchmarks.where [ROW ...]

What both ways have to do in the same kernels (convolutions, matrix products, the decoding of a file) bounds the ratio: the
time ours spends there, by the whole of the peer's. Shares come from PyTorch's profiler for nets and from Python's for
files; the times of a profiled run are longer than those of the table. Written to benchmarks/results/MACHINE/where/DATE.json,
which docs/speed.md shows.
"""

from __future__ import annotations

import argparse
import cProfile
import importlib
import json
import pstats
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from benchmarks import kept
from benchmarks.machine import described, machine_name
from benchmarks.measure import FOLDER, chosen
from benchmarks.rows import Measured, Measurements, Missing, Way, Work, measured

Shares = dict[str, float]
"""Name of a kernel or function to seconds of its own, the longest first."""


class Bound(NamedTuple):
    """What both ways of a row have to do alike.

    Attributes:
        peer: the way ours is compared with.
        kernels: names, as the profiler has them, that are in both.
        what: the same in words.
        nets: whether PyTorch's profiler is asked, or Python's.
    """

    peer: str
    kernels: tuple[str, ...]
    what: str
    nets: bool


_PRODUCTS = ("aten::mkldnn_convolution", "aten::_slow_conv2d_forward", "aten::addmm", "aten::mm", "aten::bmm")
_BACKWARD = ("aten::_slow_conv2d_backward", "aten::mkldnn_convolution_backward", "aten::convolution_backward")
_DECODERS = ("imdecode", "imread", "decode_jpeg")
BOUNDS = {
    "detector_step": Bound("torchvision", _PRODUCTS + _BACKWARD, "convolutions and matrix products", True),
    "detector_inference": Bound("torchvision", _PRODUCTS, "convolutions and matrix products", True),
    "camvid-loader": Bound("albumentations", _DECODERS, "decoding", False),
    "large-loader": Bound("albumentations", _DECODERS, "decoding", False),
    "large-loader-masks": Bound("albumentations", _DECODERS, "decoding", False),
    "folder": Bound("plain loop", _PRODUCTS, "convolutions and matrix products", True),
    "recompute_units": Bound("keeping all", _PRODUCTS + _BACKWARD, "convolutions and matrix products", True),
}


@dataclass
class _Watched(Work):
    """Work that is profiled instead of timed: each way runs twice, and the second run counts."""

    nets: bool = True
    found: dict[str, Shares] = field(default_factory=dict)

    def in_turn(
        self, ways: Mapping[str, Way | Missing], same: Callable[[dict[str, Any]], None] | None = None
    ) -> Measurements:
        profiled = _kernels if self.nets else _functions
        runs: Measurements = {}
        for name, way in ways.items():
            if isinstance(way, Missing):
                runs[name] = way
                continue
            way()
            runs[name] = [measured(way)]
            self.found[name] = profiled(way)
        return runs


def _kernels(way: Way) -> Shares:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as watched:
        way()
    events = [(event.key, event.self_cpu_time_total / 1e6) for event in watched.key_averages()]
    return dict(sorted(events, key=lambda one: -one[1]))


def _functions(way: Way) -> Shares:
    watched = cProfile.Profile()
    watched.runcall(way)
    shares: Shares = {}
    for (_, _, name), (_, _, own, _, _) in pstats.Stats(watched).stats.items():  # type: ignore[attr-defined]
        plain = name.removeprefix("<").removesuffix(">").removeprefix("built-in method ")
        shares[plain.rsplit(".", 1)[-1]] = shares.get(plain.rsplit(".", 1)[-1], 0.0) + own
    return dict(sorted(shares.items(), key=lambda one: -one[1]))


def look(name: str, *, toy: bool = False) -> dict[str, Any]:
    """One row's line: longest kernels of each way, and the bound. In this process."""
    bound = BOUNDS[name]
    ((module, _),) = chosen([name])
    row = next(row for row in importlib.import_module(module).rows() if row.name == name)
    watched = _Watched(toy=toy, nets=bound.nets)
    with watched as work:
        runs, found = row.measure(work), watched.found
    peer = runs[bound.peer]
    if isinstance(peer, Missing):
        return {"name": name, "title": row.title, "missing": peer.reason}
    whole = sum(found[bound.peer].values())
    alike = sum(found["toolkit"].get(kernel, 0.0) for kernel in bound.kernels)
    return {
        "name": name,
        "title": row.title,
        "peer": bound.peer,
        "what": bound.what,
        "bound": alike / whole,
        "seconds": {way: one[0].seconds for way, one in runs.items() if isinstance(one, list) and _timed(one[0])},
        "longest": {
            way: {kernel: seconds / sum(shares.values()) for kernel, seconds in list(shares.items())[:6]}
            for way, shares in found.items()
        },
    }


def _timed(run: Measured) -> bool:
    return run.seconds > 0


def as_markdown(lines: list[dict[str, Any]]) -> str:
    """Rows with what bounds them, for docs/speed.md."""
    parts = [
        "| work | alike in both | of the whole time of | ratio cannot fall below | longest of ours |",
        "|---|---|---|---:|---|",
    ]
    for line in lines:
        if "missing" in line:
            continue
        longest = ", ".join(
            f"{name.removeprefix('aten::')} {share:.0%}" for name, share in line["longest"]["toolkit"].items()
        )
        bound = f"{line['bound']:.2f} of {line['peer']} | {1 / line['bound']:.1f}× faster"
        parts.append(f"| {line['title']} | {line['what']} | {bound} | {longest} |")
    return "\n".join(parts)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.where", description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", default=list(BOUNDS), metavar="ROW", help=", ".join(BOUNDS))
    parser.add_argument("--here", action="store_true", help="one row in this process, its line as JSON")
    arguments = parser.parse_args(words)
    if unknown := [name for name in arguments.rows if name not in BOUNDS]:
        raise SystemExit(f"no bound is known for {', '.join(unknown)}; there are {', '.join(BOUNDS)}")
    if arguments.here:
        print(json.dumps(look(arguments.rows[0])))
        return 0
    lines = []
    for name in arguments.rows:
        command = [sys.executable, "-m", "benchmarks.where", "--here", name]
        done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
        lines.append(json.loads(done.stdout.splitlines()[-1]))
    print(as_markdown(lines))
    now = datetime.now()
    path = kept.new_path(f"{machine_name()}/where", now)
    kept.write({"when": f"{now:%Y-%m-%dT%H:%M}", **described(), "lines": lines}, path)
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
