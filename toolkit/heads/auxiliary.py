"""Auxiliary classifiers of GoogLeNet (Szegedy et al. 2015, arXiv 1409.4842, section 5): they help the training only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import PartsError, Problem
from toolkit.weights.fit import load_exactly
from toolkit.weights.read import part_of


class AuxiliaryClassifiers(nn.Module):
    """A classifier on every map of the pyramid that is not the last one of its stride.

    Raises PartsError when every map is the only one of its stride.

    Args:
        spec: what the backbone produces, with two maps of one stride at least.
        num_classes: K, the number of logits of each classifier.
        norm: whether batch norm (eps 1e-3) replaces the bias after the 1x1 convolution, as in torchvision.
    """

    def __init__(self, spec: PyramidSpec, num_classes: int, norm: bool) -> None:
        super().__init__()
        self.indices = tuple(i for i in range(len(spec)) if spec.index_of(spec.strides[i]) != i)
        if not self.indices:
            message = f"auxiliary classifiers need two maps of one stride, but the input has {spec.describe()}"
            raise PartsError(Problem("head 'image'", message, "set auxiliary: true on the backbone, or none here"))
        self.classifiers = nn.ModuleList(AuxiliaryClassifier(spec.channels[i], num_classes, norm) for i in self.indices)

    def forward(self, pyramid: FeaturePyramid) -> list[Tensor]:
        """The logits (N, K) of each auxiliary classifier, in the order of their maps."""
        return [head(pyramid.maps[i]) for head, i in zip(self.classifiers, self.indices, strict=True)]

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        """Loads torchvision's `aux1`, `aux2`; last layers made for another number of classes stay random."""
        for number, classifier in enumerate(self.classifiers, start=1):
            own = part_of(state, f"aux{number}.")
            for name in ("fc2.weight", "fc2.bias"):
                if name in own and own[name].shape != classifier.state_dict()[name].shape:
                    own[name] = classifier.state_dict()[name]
            load_exactly(classifier, own, f"{source} (aux{number})")


class AuxiliaryClassifier(nn.Module):
    """Average to 4x4, 1x1 convolution to 128 maps with ReLU, 1024 units with ReLU, dropout 0.7, logits.

    The paper pools 14x14 maps by 5x5 windows of stride 3, which gives 4x4; pooling to 4x4 takes any size, as
    torchvision does.

    Args:
        in_channels: channels of the map it reads.
        num_classes: K, the number of its logits.
        norm: whether batch norm (eps 1e-3) replaces the bias after the 1x1 convolution, as in torchvision.
    """

    def __init__(self, in_channels: int, num_classes: int, norm: bool) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, 128, 1, bias=not norm)
        bn = nn.BatchNorm2d(128, eps=1e-3) if norm else nn.Identity()
        self.conv = nn.Sequential(OrderedDict(conv=conv, bn=bn))
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) features to the logits (N, K) of the classes."""
        x = torch.relu(self.conv(F.adaptive_avg_pool2d(features, 4)))
        return self.fc2(self.dropout(torch.relu(self.fc1(x.flatten(1)))))
