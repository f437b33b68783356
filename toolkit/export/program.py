"""A graph written down as a program: traced once, valid for the sizes and numbers of pictures that it says."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from toolkit.errors import ConfigError, PartsError, Problem, first_line
from toolkit.export.graph import ExportGraph
from toolkit.export.same_padding import whole_numbers
from toolkit.ops.padding import check_size
from toolkit.ops.pooling import by_comparing

_DYNAMIC = (97, 131)
"""Size of the example of a program for any size: odd, so that whatever rounds a side shows itself."""


class Program(NamedTuple):
    """What was written down.

    Args:
        exported: PyTorch's program, as `torch.export` gives it.
        input: name of what it takes (`PICTURES` or `PIXELS`).
        outputs: names of what it gives, in order.
        example: the input it was traced with.
        size: (height, width) that pictures must have, None for any.
        smallest: smallest height and width it takes, in pixels.
        more: names of its inputs beside the pictures, in order.
        translations: its operators that ONNX' exporter has to be told of.
    """

    exported: ExportedProgram
    input: str
    outputs: tuple[str, ...]
    example: Tensor
    size: tuple[int, int] | None
    smallest: tuple[int, int]
    more: tuple[str, ...] = ()
    translations: dict[Any, Any] = {}  # noqa: RUF012 (never changed)


def write_down(graph: ExportGraph, size: tuple[int, int] | None = None, *, comparing: bool = False) -> Program:
    """Traces a graph. Raises ConfigError for a size the net cannot take, PartsError for a net that cannot be traced.

    Args:
        graph: the graph, in eval mode.
        size: (height, width) that all pictures will have, one at a time; None: any size and number.
        comparing: whether pooling with indices is written as comparisons, which OpenVINO computes twice as fast.
    """
    rule = graph.model.spec.sizes
    if size is not None and graph.model.illegal_sizes == "refuse" and graph.model.border == 0:
        check_size(size, rule)
    # Without a neck the coarsest map is read: an example of one cell would stand for one cell in every size.
    more_cells = 2 * max(graph.model.spec.strides) if graph.model.neck is None else 0
    traced_at = size or tuple(max(n, rule.minimum) + more_cells for n in _DYNAMIC)
    example = graph.example((traced_at[0], traced_at[1]), count=2 if size is None else 1)
    axes = (0, 2, 3) if graph.raw else (0, 1, 2)
    more = graph.more(example)
    shapes = [dict.fromkeys(axes, Dim.DYNAMIC), *({0: Dim.DYNAMIC} for _ in more)] if size is None else None
    given = (example, *more.values())
    pooling = by_comparing() if comparing else nullcontext()
    with torch.no_grad(), whole_numbers(), pooling, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, for its developers
        graph(*given)
        try:
            # Of conditions on sizes some hold always, but PyTorch cannot prove it (2 * ceil(n / 2) >= n): they are looked at
            # when the program runs. A side that became a number is refused all the same.
            exported = torch.export.export(
                graph, given, dynamic_shapes=None if shapes is None else (shapes[0], tuple(shapes[1:]))[: 1 + bool(more)],
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )  # fmt: skip
        except Exception as error:  # what tracing raises is of dozens of classes
            raise _untraceable(error, size) from error
    return Program(
        exported, graph.input_name, graph.names, example, size, _smallest(exported, axes[1:], size), tuple(more),
        graph.translations,
    )  # fmt: skip


def _smallest(exported: ExportedProgram, axes: tuple[int, ...], size: tuple[int, int] | None) -> tuple[int, int]:
    """Lower ends of the ranges that tracing found for height and width."""
    if size is not None:
        return size
    placeholder = next(node for node in exported.graph.nodes if node.name in exported.graph_signature.user_inputs)
    shape = placeholder.meta["val"].shape
    found: list[int] = []
    for axis in axes:
        expression = getattr(getattr(shape[axis], "node", None), "expr", None)
        limits: Any = exported.range_constraints.get(expression)
        found.append(1 if limits is None else max(1, int(limits.lower)))
    return found[0], found[1]


def _untraceable(error: Exception, size: tuple[int, int] | None) -> PartsError | ConfigError:
    first = first_line(error)
    if size is None:
        message = f"the net cannot be written down for any size of picture: {first}"
        return ConfigError(Problem("--dynamic", message, "export it for one size: --size HEIGHTxWIDTH"))
    return PartsError(Problem("model", f"cannot be written down as a program: {first}"))
