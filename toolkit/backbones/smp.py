"""Any encoder of segmentation-models-pytorch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from toolkit.backbones.timm import fill_features
from toolkit.bounds import NamesOf, NonEmptyStr, PositiveInt
from toolkit.contracts import BACKBONES, Backbone, FeaturePyramid, PixelStats, PyramidSpec, SizeRule
from toolkit.errors import CheckpointError, ConfigError, Problem, did_you_mean
from toolkit.layers.stats import stats_for_channels
from toolkit.weights.downloads import refuse_download
from toolkit.weights.fit import fill_from
from toolkit.weights.read import is_file


@BACKBONES.register("smp")
class SmpBackbone(Backbone):
    """An encoder of segmentation-models-pytorch by its name there ("resnet34", "efficientnet-b0", "mit_b0", "tu-...").

    That library's encoders hand out the image itself as first map and fill gaps with maps of no channels; neither is
    part of the pyramid here. What each map is, is measured once at construction on a small empty image, not taken
    from names or positions. Images must be multiples of the output stride, as the library's own models demand.

    Args:
        encoder: name of the encoder in segmentation-models-pytorch.
        weights: None (random), a name the library knows for this encoder ("imagenet"; downloaded), or a local file with
            the names of the encoder, of a whole net of smp, or (for nets that they have) of torchvision or timm.
        depth: number of times the encoder halves the image, 1 to 5; the coarsest stride is 2^depth.
        in_channels: channels of the images; published weights of 3 are adapted to any other number.
        output_stride: coarsest stride that is kept; 8 or 16 dilates the last stages, where the encoder can.

    Raises:
        ConfigError: an unknown name, or an encoder that cannot do what is asked.
        CheckpointError: a failed download; a file that does not fit.
    """

    def __init__(
        self,
        encoder: Annotated[NonEmptyStr, NamesOf("smp encoder", "the name of an encoder")] = "resnet34",
        weights: str | None = None,
        depth: Annotated[int, Interval(ge=1, le=5)] = 5,
        in_channels: PositiveInt = 3,
        output_stride: Literal[8, 16, 32] = 32,
    ) -> None:
        super().__init__()
        given = weights if weights is not None and is_file(weights) else None
        self.net = _create(encoder, None if given else weights, depth, in_channels, output_stride)
        if given is not None:
            self.origin = _fill(self.net, encoder, in_channels, given)
        elif weights is not None:
            self.origin = (
                f"segmentation-models-pytorch's '{weights}' of {encoder} (licence: that of the weights' authors)"
            )
        coarsest = min(2**depth, output_stride)
        try:
            maps = _probe(self.net, in_channels, 2 * coarsest)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ConfigError(Problem("encoder", f"'{encoder}' does not run on small images ({error})")) from error
        self._kept = [index for index, cells, channels in maps if cells and channels]
        kept = [(2 * coarsest // cells, channels) for _, cells, channels in maps if cells and channels]
        strides, channels = zip(*kept, strict=True)
        self.spec = PyramidSpec(channels, strides, sizes=SizeRule(coarsest, coarsest))
        self.pixel_stats = stats_for_channels(_stats(encoder, None if given else weights), in_channels)

    def forward(self, images: Tensor) -> FeaturePyramid:
        """The maps `spec` promises."""
        maps = self.net(images)
        kept = tuple(maps[index] for index in self._kept)
        return FeaturePyramid(kept, self.spec, (images.shape[-2], images.shape[-1]))


def _create(encoder: str, weights: str | None, depth: int, in_channels: int, output_stride: int) -> Any:
    from segmentation_models_pytorch.encoders import encoders, get_encoder

    if encoder not in encoders and not encoder.startswith("tu-"):
        suggestion = did_you_mean(encoder, encoders)
        raise ConfigError(Problem("encoder", f"segmentation-models-pytorch has no encoder '{encoder}'", suggestion))
    known = encoders.get(encoder, {}).get("pretrained_settings", {})
    if weights is not None and encoder in encoders and weights not in known:
        message = f"encoder '{encoder}' has no weights '{weights}'"
        raise ConfigError(Problem("weights", message, did_you_mean(weights, known)))
    if weights is not None:
        refuse_download("weights", f"the weights '{weights}' of '{encoder}'")
    device = torch.get_default_device()
    try:
        with torch.device("cpu"):  # some encoders compute with tensors while they are built: not on the meta device
            net = get_encoder(encoder, in_channels, depth, weights, output_stride)
        return net.to(device)
    except (TypeError, NotImplementedError, AssertionError, ValueError, KeyError) as error:
        message = f"'{encoder}' cannot be built with depth {depth}, output_stride {output_stride} ({error})"
        raise ConfigError(Problem("encoder", message, "choose another encoder or other numbers")) from error
    except Exception as error:  # a failed download arrives as any of a dozen classes of three libraries
        if weights is None:
            raise
        raise CheckpointError(
            Problem(
                "weights",
                f"weights '{weights}' of '{encoder}' could not be downloaded ({error})",
                "say `weights: null` to start from random weights",
            )
        ) from error


def _fill(net: Any, encoder: str, in_channels: int, weights: str) -> str:
    """Fills an encoder from a file; those of timm (tu-...) have it inside, under timm's names."""
    if encoder.startswith("tu-"):
        return fill_features(net.model, encoder.removeprefix("tu-"), in_channels, weights)
    return fill_from(net, weights, "smp")


def _probe(net: Any, in_channels: int, size: int) -> list[tuple[int, int, int]]:
    """(position, cells a side, channels) of each map for a square image; 0 cells where it is the image itself."""
    parameter = next(net.parameters())
    image = torch.zeros(1, in_channels, size, size, device=parameter.device, dtype=parameter.dtype)
    training = net.training
    net.eval()
    with torch.no_grad():
        maps = net(image)
    net.train(training)
    return [(i, 0 if m is image else m.shape[-1], m.shape[1]) for i, m in enumerate(maps)]


def _stats(encoder: str, weights: str | None) -> PixelStats:
    """The statistics the weights expect, for pixels scaled to 0..1; ImageNet's for random weights."""
    if weights is None:
        return PixelStats()
    from segmentation_models_pytorch.encoders import get_preprocessing_params

    settings = get_preprocessing_params(encoder, weights)
    top = settings["input_range"][-1]  # 1 or 255: what the largest pixel is before mean and std apply
    mean, std = (tuple(float(value) / top for value in settings[key]) for key in ("mean", "std"))
    return PixelStats(mean, std, settings["input_space"] == "BGR")
