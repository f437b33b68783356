"""Parts tried on one another without weights: images of the right size through them on the meta device, in no time.

Constructors compare what parts promise (`PyramidSpec`); this compares the promises with the tensors, so that a part
that promises wrongly is named, and not the one after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import ConfigError, ImageSizeError, PartsError, Problem, UserError
from toolkit.models.vision_model import VisionModel
from toolkit.ops.padding import check_size, legal_size

Size = tuple[int, int]


class PartNames(NamedTuple):
    """How a config calls the parts: `backbone 'resnet'`. neck is "" when there is none.

    Args:
        backbone: the backbone in words, such as "backbone 'resnet'".
        neck: the neck in words, "" when there is none.
        head: the head in words, such as "head 'pixel'".
    """

    backbone: str
    neck: str
    head: str


class MetaPass(NamedTuple):
    """size: (height, width) of the images as the parts saw them, a legal size. macs: multiply-accumulates an image."""

    size: Size
    macs: float


_PRODUCTS = {"mm": 0, "addmm": 1, "bmm": 0, "baddbmm": 1}
"""Products of matrices, and the place of the left factor among their arguments."""


class _Work(TorchDispatchMode):
    """Multiply-accumulates of convolutions and matrix products, as torch.utils.flop_counter counts them.

    That module imports Triton, which is a tenth of what a check waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Does the operation and counts it."""
        made, name = func(*args, **(kwargs or {})), func._overloadpacket.__name__
        if name in ("convolution", "_convolution"):
            image, kernels, transposed = args[0], args[1], args[6]
            self.macs += (image if transposed else made).numel() * kernels.shape[1:].numel()
        elif name in _PRODUCTS:
            self.macs += made.numel() * args[_PRODUCTS[name]].shape[-1]
        return made


def run_meta_pass(model: VisionModel, names: PartNames, size: Size, batch: int = 1) -> MetaPass:
    """Sends `batch` images of (height, width) through a model on the meta device, as training does.

    Raises PartsError naming the first pair of parts that does not fit, with both sides' specs; ImageSizeError for a
    size that the model refuses; ConfigError for a batch too small for batch normalisation.

    Args:
        model: the model, on the meta device.
        names: how messages call the parts.
        size: (height, width) of the images in pixels.
        batch: number of images that are sent through.
    """
    if model.illegal_sizes == "refuse":
        check_size(size, model.spec.sizes)
    legal = legal_size(size, model.spec.sizes)
    images = torch.zeros((batch, model.in_channels, *legal), dtype=torch.uint8, device="meta")
    model = model.train()
    before = f"images of {legal[0]}x{legal[1]}"
    with torch.no_grad(), _Work() as work:
        pyramid = _step(names.backbone, before, lambda: model.backbone(model.normalise(images)), batch)
        _compare(names.backbone, model.backbone.spec, pyramid, legal)
        before = f"{names.backbone} ({model.backbone.spec.describe()})"
        if model.neck is not None:
            given, neck = pyramid, model.neck
            pyramid = _step(names.neck, before, lambda: neck(given), batch)
            _compare(names.neck, neck.spec, pyramid, legal)
            before = f"{names.neck} ({neck.spec.describe()})"
        _step(names.head, before, lambda: model.head(pyramid), batch)
    return MetaPass(legal, work.macs / batch)


def _step(part: str, before: str, work: Callable[[], Any], batch: int) -> Any:
    try:
        return work()
    except ImageSizeError as error:
        raise ImageSizeError(problem.at(part) for problem in error.problems) from error
    except UserError as error:
        raise PartsError(
            Problem(part, f"does not fit {before}: {problem.message}", problem.suggestion) for problem in error.problems
        ) from error
    except Exception as error:  # whatever a part of somebody's own raises when it is fed what it does not expect
        text = " ".join(str(error).split())
        if "more than 1 value per channel" in text:
            raise _too_few_values(part, batch) from error
        message = f"does not fit {before}: {type(error).__name__}: {text[:300]}"
        raise PartsError(Problem(part, message, "change one of the two, or what the first says in its spec")) from error


def _too_few_values(part: str, batch: int) -> ConfigError:
    message = f"normalises over a batch of {batch} image(s) whose map is a single cell: one value has no variance"
    remedy = "use larger images, data.batch_size of 2 or more a process, or a part without batch normalisation"
    return ConfigError(Problem(part, message, remedy))


def _compare(part: str, spec: PyramidSpec, pyramid: Any, size: Size) -> None:
    """Raises PartsError when the tensors are not what the spec promises."""
    if not isinstance(pyramid, FeaturePyramid):
        raise PartsError(Problem(part, f"gives a {type(pyramid).__name__}, but a FeaturePyramid was wanted"))
    wrong = _differences(spec, pyramid, size)
    if wrong:
        promised = f"promises {spec.describe()}"
        message = f"{promised}, but for images of {size[0]}x{size[1]} {wrong}"
        raise PartsError(Problem(part, message, "correct the `spec` it sets, or its layers"))


def _differences(spec: PyramidSpec, pyramid: FeaturePyramid, size: Size) -> str:
    if len(pyramid.maps) != len(spec):
        return f"it gives {len(pyramid.maps)} map(s) of {_shapes(pyramid)}"
    for number, (features, channels, stride, border) in enumerate(
        zip(pyramid.maps, spec.channels, spec.strides, spec.borders, strict=True)
    ):
        found = f"map {number} is {features.shape[1]} channels of {features.shape[2]}x{features.shape[3]}"
        if features.shape[1] != channels:
            return f"{found}, which are not {channels} channels"
        for cells, pixels in zip(features.shape[-2:], size, strict=True):
            # Floor, ceil, or (a kernel without padding) a cell less.
            if abs(cells - (pixels - 2 * border) / stride) >= 2:
                return f"{found}, which is stride {max(1, round((pixels - 2 * border) / cells))}, not {stride}"
    if spec.pool_indices and len(pyramid.pools) != len(pyramid.maps) - 1:
        return f"it gives {len(pyramid.pools)} pooling indices for {len(pyramid.maps)} maps"
    return ""


def _shapes(pyramid: FeaturePyramid) -> str:
    return ", ".join(f"{m.shape[1]}x{m.shape[2]}x{m.shape[3]}" for m in pyramid.maps)
