"""A training that takes a second: a U-Net of a few thousand parameters on generated shapes."""

from __future__ import annotations

from pathlib import Path

from toolkit.config.load import parse_config
from toolkit.config.sections import Config

TINY = """
model:
  backbone: {name: unet_encoder, in_channels: 3, width: 4, depth: 3, padding: same, norm: batch, dropout: 0.3}
  neck: {name: skip, norm: batch}
  head: {name: pixel}
data:
  classes: shapes
  batch_size: 2
  workers: 0
  train:
    dataset: {name: shapes, split: train, count_train: 6, count_val: 3, image_size: [32, 40]}
    transforms: [{name: HorizontalFlip, p: 0.5}, {name: RandomBrightnessContrast, p: 1.0}]
  val:
    dataset: {name: shapes, split: val, count_train: 6, count_val: 3, image_size: [32, 40]}
train:
  steps: 8
  optimizer: {name: adamw, lr: 0.01}
  schedule: {name: cosine}
  log_every: 3
  evaluate_every: 4
  save_every: 2
  device: cpu
  threads: 1
evaluate: {evaluators: [semantic], record: false}
name: tiny
"""


def tiny_config(data: Path, *overrides: str) -> Config:
    return parse_config(TINY, "tiny.yaml", [f"data.root={data}", *overrides])


def write_tiny(folder: Path, data: Path) -> Path:
    """The config as a file."""
    path = folder / "tiny.yaml"
    path.write_text(TINY.replace("data:\n", f"data:\n  root: {data}\n", 1))
    return path
