"""Any net of timm that can give feature maps."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from toolkit.bounds import NamesOf, NonEmptyStr, PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import CheckpointError, ConfigError, Problem, did_you_mean
from toolkit.layers.stats import stats_for_channels
from toolkit.weights.downloads import refuse_download
from toolkit.weights.fit import CLASSIFIERS, Fit, fitted, load_exactly
from toolkit.weights.read import keeps_order, read_weights


@BACKBONES.register("timm")
class TimmBackbone(Backbone):
    """A net of the timm library by its name there ("resnet18", "convnext_tiny.fb_in1k"), as a pyramid.

    Strides, channels and pixel statistics are those timm states for the net. Transformers of one resolution give
    several maps of equal stride; nets that timm builds for one image size are made to take any multiple of their
    stride where they can.

    Args:
        model: name of the net in timm, with or without the tag of its weights.
        pretrained: whether timm's published weights are downloaded; random weights otherwise.
        weights: a local file to take weights from, with the names of timm, smp, or (for nets that both have) torchvision.
        in_channels: channels of the images; published weights of 3 are adapted to any other number.
        output_stride: coarsest stride to keep, by dilation (most convolutional nets can); None keeps timm's.
        out_indices: which of timm's maps to give, counted from the finest, 0; None gives all.

    Raises:
        ConfigError: an unknown name, or an option the net has not.
        CheckpointError: weights that cannot be had.
    """

    def __init__(
        self,
        model: Annotated[NonEmptyStr, NamesOf("timm net", "the name of a timm net")] = "resnet18",
        pretrained: bool = False,
        weights: str | None = None,
        in_channels: PositiveInt = 3,
        output_stride: Literal[8, 16, 32] | None = None,
        out_indices: list[int] | None = None,
    ) -> None:
        super().__init__()
        import timm

        if not timm.is_model(model):
            names = [*timm.list_models(), *timm.list_pretrained()]
            raise ConfigError(Problem("model", f"timm has no net '{model}'", did_you_mean(model, names)))
        options: dict[str, Any] = {"in_chans": in_channels}
        if output_stride is not None:
            options["output_stride"] = output_stride
        if out_indices is not None:
            options["out_indices"] = out_indices
        self.net, fixed = _create(model, pretrained and weights is None, options)
        if weights is not None:
            self.origin = fill_features(self.net, model, in_channels, weights)
        elif pretrained:
            self.origin = _published(model)
        info = self.net.feature_info
        strides = info.reduction()
        # Nets that cut the image into patches or pool without padding have no coarsest cell below one stride.
        coarsest = max(strides)
        free = not fixed and self._takes(in_channels, 2 * coarsest + 3)
        sizes = SizeRule(coarsest, 1 if free else coarsest)
        self.spec = PyramidSpec(info.channels(), strides, sizes=sizes)
        self._channels_last = str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")  # Swin and its kin
        config = self.net.default_cfg
        self.pixel_stats = stats_for_channels(PixelStats(config["mean"], config["std"]), in_channels)

    def _takes(self, in_channels: int, size: int) -> bool:
        """Whether an image of that many pixels a side passes: HRNet, for one, wants multiples of its stride."""
        parameter = next(self.net.parameters())
        image = torch.zeros(1, in_channels, size, size, device=parameter.device, dtype=parameter.dtype)
        training = self.net.training
        self.net.eval()
        try:
            with torch.no_grad():
                self.net(image)
        except (RuntimeError, ValueError, AssertionError):
            return False
        finally:
            self.net.train(training)
        return True

    def forward(self, images: Tensor) -> FeaturePyramid:
        """The maps `spec` promises."""
        maps = self.net(images)
        if self._channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        return FeaturePyramid(tuple(maps), self.spec, (images.shape[-2], images.shape[-1]))


def _create(model: str, pretrained: bool, options: dict[str, Any]) -> tuple[Any, bool]:
    """The net, and whether it wants multiples of its stride (a net for one image size, made flexible)."""
    import timm
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(model)
    fixed = bool(config is not None and config.fixed_input_size)
    if fixed:
        options["dynamic_img_size"] = True
    if pretrained:
        refuse_download("pretrained", f"timm's weights of '{model}'")
    device = torch.get_default_device()
    try:
        with torch.device("cpu"):  # some nets compute with tensors while they are built: not on the meta device
            net = timm.create_model(model, pretrained=pretrained, features_only=True, **options)
        return net.to(device), fixed
    except (TypeError, NotImplementedError, AssertionError, IndexError, ValueError, AttributeError) as error:
        shown = ", ".join(f"{name}={value}" for name, value in options.items())
        message = f"timm's '{model}' cannot be built as feature maps with {shown} ({error})"
        advice = "it takes one image size only; choose another net" if fixed else "choose another net or other options"
        raise ConfigError(Problem("model", message, advice)) from error
    except Exception as error:  # a failed download arrives as any of a dozen classes of three libraries
        if not pretrained:
            raise
        raise CheckpointError(
            Problem(
                "pretrained",
                f"weights of timm's '{model}' could not be read or downloaded ({error})",
                "say `pretrained: false` to start from random weights, or give a local file as `weights`",
            )
        ) from error


def _published(model: str) -> str:
    """Where timm's weights of a net come from, and their licence as timm knows it."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(model)
    tag = f"{config.architecture}.{config.tag}" if config is not None and config.architecture else model
    licence = (config.license if config is not None else None) or "licence not stated"
    return f"timm's weights {tag} ({licence}; huggingface.co/timm/{tag})"


def fill_features(net: nn.Module, model: str, in_channels: int, weights: str) -> str:
    """Fills timm's feature maps of a net from a file with the names of the whole net; says where they come from.

    Raises CheckpointError for a file that cannot be read, or lacks tensors of the net.

    Args:
        net: what `create_model(..., features_only=True)` makes, whose names differ from the net's in dots alone.
        model: name of the net in timm.
        in_channels: number of channels of the images.
        weights: the file that the tensors are read from.
    """
    import timm

    state = read_weights(weights)
    with torch.device("cpu"):
        whole = timm.create_model(model, pretrained=False, in_chans=in_channels)
    fit = _whole(whole, state, weights)
    bare = {_undotted(name): tensor for name, tensor in fit.tensors.items()}
    found = {name: bare.get(_undotted(name.removeprefix("model."))) for name in net.state_dict()}
    load_exactly(net, {name: tensor for name, tensor in found.items() if tensor is not None}, weights)
    return f"{weights} ({fit.about})"


def _whole(whole: nn.Module, state: dict[str, Tensor], weights: str) -> Fit:
    """The tensors by timm's names; a file of the net's authors is translated as timm does it."""
    ordered = keeps_order(weights)
    try:
        return fitted(whole, state, weights, optional=_LAST, ordered=ordered)
    except CheckpointError:
        translate = getattr(sys.modules[type(whole).__module__], "checkpoint_filter_fn", None)
        if translate is None:
            raise
        with suppress(Exception):  # it is made for the files of one author, and this is another's
            return fitted(whole, translate(dict(state), whole), weights, optional=_LAST, ordered=False)
        raise


def _undotted(name: str) -> str:
    return name.replace(".", "_")


_LAST = (*CLASSIFIERS, "conv_head.", "norm_head.", "bn2.", "norm.", "fc_norm.")
"""What stands behind the last map in nets of timm, and is missing in files of feature maps."""
