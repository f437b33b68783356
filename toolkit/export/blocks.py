"""Values between the layers of a model, by name, in the order in which they are made: what a bisection looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_DEEPEST = 2
"""Points in the name of the smallest parts that are looked at: `backbone.layer1.0`."""


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Fills a dictionary with the output of each part of a model's backbone, neck and head, while it runs."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not _known(output, found):
                found[name] = output

        return hook

    handles = [
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
