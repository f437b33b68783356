"""A detector that trains for a second: strides 4 and 8 of a narrow net, on generated shapes."""

from __future__ import annotations

from pathlib import Path

from toolkit.config.load import parse_config
from toolkit.config.sections import Config

TINY_DETECTION = """
model:
  backbone: {name: unet_encoder, in_channels: 3, width: 4, depth: 4, padding: same, norm: batch, dropout: 0.0}
  neck: {name: fpn, strides: [4, 8], channels: 8, extra: none}
  head:
    name: rcnn
    rpn:
      anchors: {scales: [4.0]}
      proposals: {before_train: 40, after_train: 20, before_test: 40, after_test: 10}
      samples: 16
    roi: {hidden: 16, samples: 8, dropout: 0.2}
data:
  classes: shapes_boxes
  batch_size: 2
  workers: 0
  train:
    dataset: {name: shapes, split: train, target: boxes, count_train: 6, count_val: 3, image_size: [48, 64]}
    transforms: [{name: HorizontalFlip, p: 0.5}, {name: resize_shorter, shorter: 48, choices: [40, 48, 56]}]
  val:
    dataset: {name: shapes, split: val, target: boxes, count_train: 6, count_val: 3, image_size: [48, 64]}
train:
  steps: 6
  optimizer: {name: adamw, lr: 0.01}
  log_every: 2
  evaluate_every: 3
  save_every: 2
  device: cpu
  threads: 1
evaluate: {evaluators: [coco, voc], record: false}
name: tiny
"""


def tiny_detection_config(data: Path, *overrides: str) -> Config:
    return parse_config(TINY_DETECTION, "tiny_detection.yaml", [f"data.root={data}", *overrides])
