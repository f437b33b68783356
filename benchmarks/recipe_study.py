"""Which of the recipes that present-day papers agree on helps: each switched on alone, over several seeds.

python -m benchmarks.recipe_study configs/tiny/unet_shapes.yaml --size 64x80 --seeds 3 --out runs/recipes train.steps=60 ...

Every recipe is a `toolkit study` of its own, of the same seeds as the one without any; the difference is taken seed by seed, with
a 95 % t-interval. The result is written to benchmarks/recipe_study.json, which docs/numbers.md shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.receipt import ROOT
from toolkit.config.load import load_config
from toolkit.engine.spent import processor_seconds
from toolkit.jobs.study import run_study
from toolkit.jobs.study_plan import Asked
from toolkit.results.studies import mean_interval

FILE = ROOT / "benchmarks" / "recipe_study.json"
NONE = {"train.ema_decay": None, "train.schedule": None, "train.warmup_steps": 0, "train.layer_decay": None}
"""The keys of a config that stand for these recipes, switched off."""


def recipes(height: int, width: int, steps: int) -> dict[str, dict[str, Any]]:
    """The keys that switch each recipe on.

    Args:
        height: of the training pictures in pixels.
        width: of the training pictures in pixels.
        steps: of a training; averages and warm-ups last a part of it.
    """
    jitter = {"name": "large_scale_jitter", "height": height, "width": width, "minimum": 0.5, "maximum": 2.0}
    return {
        "cosine": {"train.schedule": "cosine"},
        "warm-up": {"train.warmup_steps": max(1, steps // 10)},
        "averaged weights": {"train.ema_decay": 1 - 10 / steps},
        "label smoothing": {"model.head.loss.losses.0.label_smoothing": 0.1},
        "layer decay": {"train.layer_decay": 0.8},
        "large-scale jitter": {"data.train.transforms.+": jitter},
        "copy-paste": {"data.train.transforms.+": "copy_paste"},
    }


def compared(config: Path, overrides: Sequence[str], size: tuple[int, int], seeds: int, out: Path) -> dict[str, Any]:
    """Trains all of it; {"metric", "without", "recipes": [{"recipe", "keys", "values", "difference", "low", "high"}], ...}.

    Args:
        config: file whose training is varied.
        overrides: `key=value` texts that all trainings share.
        size: height and width of the training pictures in pixels.
        seeds: trainings of each recipe, 2 or more.
        out: folder of the studies' folders.
    """
    began = processor_seconds()
    plain = load_config(config, [*overrides, *_texts(NONE)])
    known = recipes(*size, plain.train.steps)
    base = run_study(config, [*overrides, *_texts(NONE)], Asked(seeds=seeds), out / "none")
    without = [run["value"] for run in base["runs"]]
    rows = []
    for name, keys in known.items():
        study = run_study(
            config, [*overrides, *_texts({**NONE, **keys})], Asked(seeds=seeds), out / name.replace(" ", "_")
        )
        values = [run["value"] for run in study["runs"]]
        mean = mean_interval([a - b for a, b in zip(values, without, strict=True)], fraction=False)
        ends = {"difference": mean["value"], "low": mean["low"], "high": mean["high"]}
        rows.append({"recipe": name, "keys": _texts(keys), "values": values, **ends})
    return {
        "config": config.resolve().relative_to(ROOT).as_posix(),
        "overrides": [text for text in overrides if not text.startswith("data.root=")],
        "metric": base["metric"],
        "seeds": seeds,
        "steps": plain.train.steps,
        "without": without,
        "recipes": rows,
        "processor_minutes": round((processor_seconds() - began) / 60, 2),
    }


def _texts(keys: dict[str, Any]) -> list[str]:
    return [f"{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}" for key, value in keys.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument(
        "--size", type=lambda text: tuple(map(int, text.split("x"))), required=True, help="HEIGHTxWIDTH"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--file", type=Path, default=FILE)
    given = parser.parse_intermixed_args(arguments)
    found = compared(given.config, given.overrides, given.size, given.seeds, given.out)
    given.file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for one in found["recipes"]:
        print(f"{one['recipe']:20} {one['difference']:+.4f} ({one['low']} to {one['high']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
