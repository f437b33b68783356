"""Weights for torchvision, segmentation-models-pytorch and timm: a state dict their own net loads strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.config.sections import Config
from toolkit.errors import ConfigError, PartsError, Problem, first_line
from toolkit.files import replacing
from toolkit.jobs.restore import Restored, restore
from toolkit.models.to_library import library_state
from toolkit.models.vision_model import VisionModel
from toolkit.models.weights import save_weights

Library = Literal["torchvision", "smp", "timm"]
_LARGEST = 1e-4
"""Difference of a logit up to which the other net is the same."""
_SMP_ENCODER = {"depth": "encoder_depth", "output_stride": "encoder_output_stride"}
_STEP_WIDTHS = [256, 128, 64, 32, 16]
"""Widths of the steps of `_BY_STEPS` by default, theirs and ours."""
_WIDTHS = {"channels": "decoder_channels"}
_STEPS = {**_WIDTHS, "attention": "decoder_attention_type"}
_ATROUS = {**_WIDTHS, "rates": "decoder_atrous_rates", "dropout": "decoder_aspp_dropout"}
_SMP_DECODER = {
    "unet": _STEPS, "unetplusplus": _STEPS, "manet": _WIDTHS, "deeplabv3": _ATROUS, "deeplabv3plus": _ATROUS,
    "fpn": {"channels": "decoder_segmentation_channels", "dropout": "decoder_dropout"},
    "pspnet": {"channels": "psp_out_channels", "dropout": "psp_dropout"},
    "pan": _WIDTHS, "upernet": _WIDTHS, "segformer": {"channels": "decoder_segmentation_channels"},
}  # fmt: skip
"""What segmentation_models_pytorch calls the arguments of the backbone and the neck `smp`, by decoder."""
_BY_STEPS = ("unet", "unetplusplus", "manet")


def run_export_weights(
    checkpoint: str | Path, to: Library, out: str | Path | None = None, *, trust_code: bool = False
) -> dict[str, Any]:
    """Writes the state dict; {"file", "net" (the line that builds theirs), "note", "parity": {"ok", "max_logit"}}.

    The other library's net is built, filled strictly and compared on random pixels: its logits, or a detector's maps.

    Args:
        checkpoint: a run folder or weights file.
        to: the library: torchvision, smp or timm.
        out: path of the file, .safetensors or .pth; None is `export/LIBRARY/` beside the weights.
        trust_code: whether parts of the form module:Class that the file names are imported.

    Raises:
        UserError: a bad checkpoint, a net that the library does not have.
    """
    restored = restore(checkpoint, trust_code=trust_code)
    path = Path(out) if out is not None else restored.path.parent / "export" / to / f"{restored.path.stem}.safetensors"
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise ConfigError(Problem("--out", f"a state dict is .safetensors or .pth, found {path.name}"))
    line, net = their_net(restored.config, restored.model, to)
    state = library_state(restored.model, restored.config.model.backbone.name, net, line)
    net.load_state_dict(state, strict=True)
    gap = _gap(restored.model, net.eval())
    _write(path, state, restored, line)
    parity = {"ok": gap <= _LARGEST, "max_logit": gap, "labels_equal": None, "metric": None}
    return {"file": str(path), "net": line, "note": _note(restored.model, to), "parity": parity}


def _note(model: VisionModel, to: Library) -> str | None:
    """What the net does otherwise with the same weights, that no tensor says."""
    grid = getattr(model.head, "grid", None)
    if to != "smp" or grid in (None, "ends") or getattr(model.head, "stride", 1) == 1:
        return None
    return f"that net upsamples its logits with corners aligned; the checkpoint does it by model.head.upsample={grid}"


def their_net(config: Config, model: VisionModel, to: Library) -> tuple[str, nn.Module]:
    """The line that builds the same net in the other library, and the net. Raises PartsError where it has none.

    Args:
        config: the config that the weights carry.
        model: the restored model, for its classes.
        to: the library: torchvision, smp or timm.
    """
    found = {"torchvision": _torchvision, "timm": _timm, "smp": _smp}[to](config, len(model.classes))
    if found is None:
        neck = config.model.neck.name if config.model.neck else "no neck"
        parts = f"{config.model.backbone.name}, {neck}, {config.model.head.name}"
        message = f"{to} has no net of these parts: {parts}"
        raise PartsError(Problem("--to", message, "toolkit export --to onnx writes every net"))
    return found


def _torchvision(config: Config, count: int) -> tuple[str, nn.Module] | None:
    import torchvision

    name = _name(config)
    if name is None or name not in torchvision.models.list_models(torchvision.models):
        return None
    if config.model.head.name == "image" and config.model.neck is None:
        more = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        line = (
            f"torchvision.models.get_model({name!r}, num_classes={count}"
            + "".join(f", {k}={v}" for k, v in more.items())
            + ")"
        )
        return line, torchvision.models.get_model(name, weights=None, num_classes=count, **more)
    neck = config.model.neck
    if config.model.head.name == "rcnn" and neck is not None and neck.name == "fpn" and name.startswith("resnet"):
        from torchvision.models.detection import FasterRCNN
        from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

        body = resnet_fpn_backbone(backbone_name=name, weights=None)
        line = f"FasterRCNN(resnet_fpn_backbone(backbone_name={name!r}, weights=None), num_classes={count + 1})"
        return line, FasterRCNN(body, num_classes=count + 1)
    return None


def _timm(config: Config, count: int) -> tuple[str, nn.Module] | None:
    import timm

    name = _name(config)
    if name is None or config.model.head.name != "image" or config.model.neck is not None or not timm.is_model(name):
        return None
    return f"timm.create_model({name!r}, num_classes={count})", timm.create_model(name, num_classes=count)


def _smp(config: Config, count: int) -> tuple[str, nn.Module] | None:
    import segmentation_models_pytorch as smp

    neck, body = config.model.neck, config.model.backbone.arguments
    if config.model.backbone.name != "smp" or neck is None or neck.name != "smp":
        return None
    decoder, encoder = str(neck.arguments.get("decoder", "unet")), body.get("encoder", "resnet34")
    given = {"in_channels": body.get("in_channels", 3), "classes": count}
    more = {_SMP_ENCODER[name]: body[name] for name in _SMP_ENCODER if body.get(name) is not None}
    named = _SMP_DECODER.get(decoder, {})
    more |= {named[name]: value for name, value in neck.arguments.items() if name in named and value is not None}
    if decoder not in _BY_STEPS and named.get("channels") in more:
        more[named["channels"]] = more[named["channels"]][0]  # one width, where we have a list of one
    elif decoder in _BY_STEPS and "depth" in body:
        more.setdefault("decoder_channels", _STEP_WIDTHS[-body["depth"] :])
    if body.get("output_stride", 32) == 32 and decoder != "pan":
        more.pop("encoder_output_stride", None)
    try:
        net = smp.create_model(decoder, encoder, encoder_weights=None, **given, **more)
    except (TypeError, ValueError) as error:
        message = f"segmentation_models_pytorch builds no such net: {first_line(error)}"
        raise PartsError(Problem("--to", message, "toolkit export --to onnx writes every net")) from error
    options = "".join(f", {name}={value!r}" for name, value in (given | more).items())
    return f"smp.create_model({decoder!r}, {encoder!r}, encoder_weights=None{options})", net


def _name(config: Config) -> str | None:
    """What torchvision and timm call the backbone."""
    part, arguments = config.model.backbone.name, config.model.backbone.arguments
    if part in ("resnet", "densenet") and arguments.get("depth"):
        return f"{part}{arguments['depth']}"
    if part == "vgg" and arguments.get("depth"):
        return f"vgg{arguments['depth']}" + ("_bn" if arguments.get("batch_norm") else "")
    if part == "timm":
        return str(arguments.get("model", "")) or None
    return part if part in ("alexnet", "googlenet") else None


@torch.no_grad()
def _gap(model: VisionModel, net: nn.Module) -> float:
    """Largest difference for random pixels: of the logits, upsampled as theirs are; of a detector of the maps its heads read.

    Infinite where theirs have another shape.
    """
    pixels = torch.rand(2, model.in_channels, 224, 224, generator=torch.Generator().manual_seed(0))
    given = model.normalise(pixels)
    if model.head.max_detections is not None:
        maps = net.backbone(given).values()  # type: ignore[operator]
        return max(_apart(*pair) for pair in zip(model.pyramid(pixels).maps, maps, strict=True))
    mine, theirs = model(pixels), net(given)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    if mine.ndim == 4 and mine.shape[2:] != theirs.shape[2:]:
        mine = F.interpolate(mine, theirs.shape[2:], mode="bilinear", align_corners=True)
    return _apart(mine, theirs)


def _apart(mine: Tensor, theirs: Tensor) -> float:
    return float((mine - theirs).abs().max()) if mine.shape == theirs.shape else float("inf")


def _write(path: Path, state: dict[str, Tensor], restored: Restored, line: str) -> None:
    about = {"classes": list(restored.model.classes), "net": line, "pixel_stats": restored.model.pixel_stats._asdict()}
    if path.suffix == ".safetensors":
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, state, about)
        return
    with replacing(path) as part:
        torch.save(state, part)
