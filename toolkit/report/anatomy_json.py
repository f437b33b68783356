"""An anatomy as plain values, for programs."""

from __future__ import annotations

import dataclasses
from typing import Any

from toolkit.analysis.anatomy import Anatomy, LayerRow


def anatomy_json(anatomy: Anatomy) -> dict[str, Any]:
    """Sizes as [C, H, W]; kernel, stride, padding, dilation, receptive_field and jump as [h, w], null where there is none.

    `in` of a layer is the shape of its first input, `inputs` of all. Memory in bytes.
    """
    return {
        "name": anatomy.name,
        "parameters": anatomy.parameters,
        "trainable": anatomy.trainable,
        "buffers": anatomy.buffers,
        "macs": anatomy.macs,
        "input": list(anatomy.input),
        "output": list(anatomy.output),
        "receptive_field": _list(anatomy.receptive_field),
        "receptive_field_min": _list(anatomy.receptive_field_min),
        "position_dependent": anatomy.position_dependent,
        "classes": list(anatomy.classes),
        "notes": list(anatomy.notes),
        "layers": [_layer(row) for row in anatomy.layers],
        "parts": [dataclasses.asdict(part) for part in anatomy.parts],
        "memory": dataclasses.asdict(anatomy.memory),
    }


def _layer(row: LayerRow) -> dict[str, Any]:
    values = {name: _list(value) for name, value in vars(row).items() if name not in ("inputs", "output")}
    return {
        "name": values.pop("name"),
        "kind": values.pop("kind"),
        "in": list(row.inputs[0]) if row.inputs else None,
        "out": _list(row.output),
        **values,
        "inputs": [list(shape) for shape in row.inputs],
    }


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
