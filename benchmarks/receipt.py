"""The receipt of a training: what was run, what it cost and what it reached, as one JSON file in benchmarks/receipts/.

    python -m benchmarks.receipt runs/unet_camvid
    python -m benchmarks.receipt runs/unet_camvid --split test --name unet_camvid_test

The run has to be measured first (`toolkit train` does it at its end, or `toolkit evaluate`). The receipt holds the config by
its path and a hash of its content without comments, in what the run departed from it, command, commit, versions, processor
minutes, images seen, the SHA-256 of the weights, the numbers with their intervals, and the curve over the training.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from toolkit.config.load import load_config
from toolkit.config.plain import differences
from toolkit.errors import DataError, Problem, UserError
from toolkit.files import replacing

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "receipts"
_OF_THE_MACHINE = (
    "name", "data.root", "data.workers", "data.cache", "train.threads", "train.device", "train.devices", "train.precision",
    "train.log_every", "train.save_every", "train.loggers",
)  # fmt: skip
"""Keys that change where and how fast a training runs, not what it learns."""
_MOST_POINTS = 40
"""Points of the loss curve that are kept; of more, evenly spread ones and the last."""


def config_hash(path: Path) -> str:
    """SHA-256 of what a config file says: its comments and its layout do not count."""
    plain = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def receipt(run: Path, split: str = "val", config: Path | None = None, record: Path | None = None) -> dict[str, Any]:
    """Plain JSON about a run that was measured on a split.

    Args:
        run: folder of the run, with the weights and an evaluation of the split.
        split: name of the split whose numbers are taken.
        config: file that the run was started from; None finds it in the command.
        record: folder of the evaluation; None is that of the split in the run.

    Raises DataError for a run without an evaluation of that split, one of other weights, and a config that is not found.
    """
    record = record or run / "evaluation" / split
    environment, evaluation = _read(run / "environment.json"), _read(record / "metrics.json")
    about, command = evaluation["about"], [str(word) for word in environment["command"]]
    source = config or _config_of(command, run)
    weights = Path(about["checkpoint"])
    weights = weights if weights.is_file() else run / weights.name
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = next((event for event in reversed(events) if "processor_minutes" in event), {})
    trained = load_config(run / "config.yaml")
    return {
        "config": source.resolve().relative_to(ROOT).as_posix(),
        "config_sha256": config_hash(source),
        "departures": _departures(source, run, split, about["options"]),
        "command": _command(command, source),
        "commit": environment["git"],
        "versions": {"toolkit": environment["toolkit"], "python": environment["python"], **environment["packages"]},
        "device": environment["device"],
        "threads": environment["threads"],
        "workers": trained.data.workers,
        "precision": environment.get("precision", trained.train.precision),  # what `auto` meant
        "steps": last.get("step", trained.train.steps),
        "images_seen": last.get("images_seen"),
        "processor_minutes": last.get("processor_minutes"),
        "weights": {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()},
        "evaluation": _evaluation(evaluation),
        "curve": curve(events, str(about["metric"])),
    }


def curve(events: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """What it had cost and what it reached at every evaluation, and the loss now and then in between.

    Args:
        events: the lines of metrics.jsonl.
        metric: name of the deciding number, which the points of evaluations have.
    """
    losses = [event for event in events if "loss" in event]
    every = -(-len(losses) // _MOST_POINTS) or 1
    kept = [event for place, event in enumerate(losses, 1) if place % every == 0 or place == len(losses)]
    points = kept + [event for event in events if f"val/{metric}" in event]
    found = []
    for event in sorted(points, key=lambda event: event["step"]):
        named = {"loss": event.get("loss"), metric: event.get(f"val/{metric}")}
        cost = {name: event.get(name) for name in ("step", "images_seen", "processor_minutes")}
        found.append({name: value for name, value in {**cost, **named}.items() if value is not None})
    return found


def _evaluation(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    about = evaluation["about"]
    kept = ("split", "metric", "percent", "images", "groups", "evaluators")
    found = {name: about[name] for name in kept} | {"metrics": evaluation["metrics"]}
    for section in ("intervals", "within"):
        if evaluation.get(section):
            found[section] = evaluation[section]
    return found


def _departures(source: Path, run: Path, split: str, options: Mapping[str, Any]) -> list[str]:
    """In what the config as it was run and measured is another than the shipped file, but for the machine's keys.

    Args:
        source: the shipped file.
        run: folder of the run.
        split: name of the measured split; what the config says of the other one does not count.
        options: keys that the evaluation changed of what the run's config says, with their values.
    """
    changed = [f"{key}={json.dumps(value)}" for key, value in options.items()]
    pair = (load_config(source, overrides=["data.root=data"]), load_config(run / "config.yaml", overrides=changed))
    found = differences(*pair)
    aside = (*_OF_THE_MACHINE, "data.test" if split == "val" else "data.val")
    return [str(one) for one in found if not one.key.startswith(aside) and not one.key.endswith(".root")]


def _command(words: Sequence[str], source: Path) -> str:
    """The command as it stands in the documentation: paths of this machine and the run's folder are left out."""
    shown = ["toolkit", "train", source.resolve().relative_to(ROOT).as_posix()]
    for word in words[words.index("train") + 1 :] if "train" in words else ():
        key, equals, value = word.partition("=")
        if equals and not key.startswith("-"):
            shown.append(f"data.root=path/to/{Path(value).name}" if key == "data.root" else word)
    return " ".join(shown)


def _config_of(command: Sequence[str], run: Path) -> Path:
    for word in command:
        parts = Path(word).parts
        if word.endswith((".yaml", ".yml")) and "configs" in parts:
            place = len(parts) - 1 - parts[::-1].index("configs")
            if (found := ROOT.joinpath(*parts[place:])).is_file():
                return found
    raise DataError(
        Problem(run / "environment.json", "its command names no config of this repository", "give --config")
    )


def _read(path: Path) -> Any:
    if not path.is_file():
        remedy = f"toolkit evaluate {path.parents[2]}" if path.name == "metrics.json" else "give the folder of a run"
        raise DataError(Problem(path, "is not there", remedy))
    return json.loads(path.read_text(encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--name", help="name of the receipt; default: that of the config file")
    parser.add_argument(
        "--config", type=Path, help="file that the run was started from, where its command does not say it"
    )
    parser.add_argument("--record", type=Path, help="folder of the evaluation; default: evaluation/SPLIT in the run")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    try:
        found = receipt(given.run, given.split, given.config, given.record)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    path = given.folder / f"{given.name or Path(found['config']).stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path}: {found['command']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
