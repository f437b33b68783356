"""Precision, memory order, compiling and recomputing on a GPU: images a second and memory of a training step.

    python benchmarks/gpu.py [--config segnet unet] [--batch 16] [--size 360 480] [--steps 30] [--rounds 3] [--json FILE]

Each way is a whole training step (forward, loss, backward, fused AdamW) of the toolkit's own loss module with the
settings of its name; after two steps that warm up (and compile), `--steps` of them are timed, the ways taking turns
within a round. Memory: the most that PyTorch had allocated at once, weights and moments included. Without a GPU it says
that it skips, and ends well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from recompute import CLASSES, batch_of, segnet, unet

from toolkit.engine.prepare import trained_groups, trained_module
from toolkit.engine.process import make_fabric
from toolkit.engine.settings import TrainSettings
from toolkit.samples import Batch

MODELS = {"segnet": segnet, "unet": unet}
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"tf32": False},
    "tf32": {},
    "tf32, channels last": {"channels_last": True},
    "bf16": {"precision": "bf16-mixed"},
    "bf16, channels last": {"precision": "bf16-mixed", "channels_last": True},
    "float16, channels last": {"precision": "16-mixed", "channels_last": True},
    "bf16, c. last, compiled": {"precision": "bf16-mixed", "channels_last": True, "compile": True},
    "tf32, units": {"recompute": "units"},
    "tf32, blocks": {"recompute": "blocks"},
    "bf16, c. last, units": {"precision": "bf16-mixed", "channels_last": True, "recompute": "units"},
    "all of it": {"precision": "bf16-mixed", "channels_last": True, "compile": True, "recompute": "units"},
    "tf32, deterministic": {"deterministic": True},
}


class Way:
    """A model, its optimizer and its settings, ready to be stepped."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.settings = TrainSettings(steps=1, device="cuda", **options)
        self.fabric = make_fabric(self.settings)
        made = MODELS[model]()
        module = trained_module(self.fabric, made, self.settings)
        optimizer = torch.optim.AdamW(trained_groups(made, 1e-4, self.settings), 1e-4, fused=True)
        self.module, self.optimizer = self.fabric.setup(module, optimizer)

    def run(self, batch: Batch, steps: int) -> tuple[float, int]:
        """Seconds a step, and the most bytes allocated."""
        make_fabric(self.settings)  # the settings of the process: tf32, deterministic
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        own = sum(t.nbytes for t in self.module.state_dict().values() if torch.is_tensor(t))
        began = time.perf_counter()
        for _ in range(steps):
            loss = torch.stack(list(self.module(batch).values())).sum()
            self.fabric.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        # Weights and two moments are this way's own; the other ways' are not.
        return (time.perf_counter() - began) / steps, torch.cuda.max_memory_allocated() - before + 3 * own


def warmed(model: str, options: dict[str, Any], batch: Batch) -> Way | str:
    """A way that has made its first steps, or why this machine cannot go it."""
    try:
        way = Way(model, options)
        way.run(batch, 2)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
    return way


def measure(model: str, batch: Batch, steps: int, rounds: int) -> dict[str, dict[str, Any]]:
    ways: dict[str, Way] = {}
    results: dict[str, dict[str, Any]] = {}
    for name, options in WAYS.items():
        way = warmed(model, options, batch)
        if isinstance(way, Way):
            ways[name] = way
        else:
            results[name] = {"failed": way}
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way.run(batch, steps))
    for name, rows in taken.items():
        results[name] = {"seconds": statistics.median(row[0] for row in rows), "bytes": max(row[1] for row in rows)}
    return {name: results[name] for name in WAYS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", choices=list(MODELS), default=list(MODELS), dest="models")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: this machine has no CUDA device")
        return
    device = torch.device("cuda", 0)
    batch = batch_of(arguments.batch, *arguments.size)
    batch = batch._replace(**{name: x.to(device) for name, x in batch._asdict().items() if isinstance(x, torch.Tensor)})
    found: dict[str, Any] = {}
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {CLASSES} classes")
    print(f"{'model':8}{'way':26}{'img/s':>10}{'of float32':>12}{'memory':>12}{'of float32':>12}")
    for model in arguments.models:
        found[model] = measure(model, batch, arguments.steps, arguments.rounds)
        base = found[model]["float32"]
        for name, row in found[model].items():
            if "failed" in row:
                print(f"{model:8}{name:26}  {row['failed']}")
                continue
            speed, share = base["seconds"] / row["seconds"], row["bytes"] / base["bytes"]
            per_second = arguments.batch / row["seconds"]
            print(f"{model:8}{name:26}{per_second:10.1f}{speed:12.2f}{row['bytes'] / 2**20:8.0f} MiB{share:12.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
