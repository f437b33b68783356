"""Values between the layers of a model, by name, in the order in which they are made: what a bisection looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from toolkit.models.vision_model import VisionModel

_DEEPEST = 2
"""Points in the name of the smallest parts that are looked at: `backbone.layer1.0`."""


def of_pass(name: str, number: int, passes: int) -> str:
    """Name of a part's value in a program of several passes.

    Args:
        name: that of the part in the model.
        number: of the pass, from 1.
        passes: how many there are; of one the part's name is enough.
    """
    return name if passes == 1 else f"pass{number}/{name}"


@contextmanager
def watched(model: VisionModel, passes: int = 1) -> Iterator[dict[str, Tensor]]:
    """Fills a dictionary with the output of each part of a model's backbone, neck and head, while it runs.

    Args:
        model: the model, which is run while this is open.
        passes: how many times it runs, for samples of dropout; names of values then begin with their pass.
    """
    found: dict[str, Tensor] = {}
    number = 0

    def begin(_: nn.Module, __: Any) -> None:
        nonlocal number
        number += 1

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not _known(output, found):
                found[of_pass(name, number, passes)] = output

        return hook

    handles = [model.backbone.register_forward_pre_hook(begin)]
    handles += [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if name.startswith(("backbone.", "neck.", "head.")) and name.count(".") <= _DEEPEST
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _known(output: Tensor, found: dict[str, Tensor]) -> bool:
    """Whether it is the output of a part inside, which has a name already."""
    return any(output is one for one in found.values())
