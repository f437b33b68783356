"""Any net of timm that can give feature maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from toolkit.bounds import NamesOf, NonEmptyStr, PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import CheckpointError, ConfigError, Problem, did_you_mean, missing_path
from toolkit.layers.downloads import refuse_download
from toolkit.layers.stats import stats_for_channels


@BACKBONES.register("timm")
class TimmBackbone(Backbone):
    """A net of the timm library by its name there ("resnet18", "convnext_tiny.fb_in1k"), as a pyramid.

    Strides, channels and pixel statistics are those timm states for the net. Transformers of one resolution give
    several maps of equal stride; nets that timm builds for one image size are made to take any multiple of their
    stride where they can.

    Args:
        model: name of the net in timm, with or without the tag of its weights.
        pretrained: whether timm's published weights are downloaded; random weights otherwise.
        weights: a local file to take weights from, with timm's tensor names.
        in_channels: channels of the images: 1 for gray, 3 for RGB.
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
        if weights is not None and not Path(weights).is_file():
            raise CheckpointError(missing_path("weights file", Path(weights), "weights"))
        options: dict[str, Any] = {"in_chans": in_channels}
        if output_stride is not None:
            options["output_stride"] = output_stride
        if out_indices is not None:
            options["out_indices"] = out_indices
        if weights is not None:
            options["pretrained_cfg_overlay"] = {"file": weights}
        self.net, fixed = _create(model, pretrained or weights is not None, options)
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
    if pretrained and "pretrained_cfg_overlay" not in options:
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
