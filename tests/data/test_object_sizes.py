"""How large the objects of a training are, as its evaluation shows them, and that weights remember it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import toolkit
from toolkit.config.plain import to_yaml
from toolkit.contracts import Dataset
from toolkit.data.object_sizes import ObjectSizes, object_sizes
from toolkit.data.transforms.augment import Resize
from toolkit.jobs.assemble import assemble, model_metadata
from toolkit.jobs.restore import restore
from toolkit.models.weights import save_weights
from toolkit.samples import Boxes, Sample


class OfSizes(Dataset):
    """Pictures of some sizes, each with one object."""

    classes = ("a",)

    def __init__(self, sizes: Sequence[tuple[int, int]], sides: Sequence[tuple[float, float]]) -> None:
        self.sizes, self.sides = sizes, sides

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        if index >= len(self):
            raise IndexError(index)
        height, width = self.sides[index]
        boxes = Boxes.of(np.array([[1, 2, 1 + width, 2 + height], [0, 0, 30, 30]], np.float32), [0, 0])
        boxes = boxes._replace(crowd=np.array([False, True]))
        return Sample(np.zeros((*self.sizes[index], 3), np.uint8), str(index), index, self.sizes[index], boxes=boxes)


def test_shares_of_the_objects_do_not_exceed_them() -> None:
    sides = [(float(n), 2.0 * n) for n in range(1, 101)]
    found = object_sizes(OfSizes([(300, 300)] * 100, sides))
    assert found is not None
    assert found.objects == 100
    assert found.heights == (51, 91, 100, 100, 100)
    assert found.widths == (102, 182, 200, 200, 200)
    assert found.usual == found.largest == (100, 200)


def test_they_are_as_the_net_sees_them() -> None:
    found = object_sizes(OfSizes([(100, 200), (100, 200), (50, 100)], [(10, 10)] * 3), [Resize(200, 200)])
    assert found is not None
    assert (found.heights[0], found.heights[-1]) == pytest.approx((20, 40), abs=0.1)
    assert (found.widths[0], found.widths[-1]) == pytest.approx((10, 20), abs=0.1)


def test_what_is_no_such_table_is_none() -> None:
    known = ObjectSizes(3, (1.0, 2, 3, 4, 5), (1.0, 2, 3, 4, 5))
    assert ObjectSizes.read(known.plain()) == known
    for value in (None, 3, {}, known.plain() | {"heights": [1]}, known.plain() | {"widths": [1, 2, 3, 4, "x"]},
                  known.plain() | {"heights": [1, 2, 3, 4, float("inf")]}, known.plain() | {"objects": True}):  # fmt: skip
        assert ObjectSizes.read(value) is None
    assert object_sizes(OfSizes([], [])) is None


def test_weights_remember_them(tmp_path: Path) -> None:
    data = [f"data.root={tmp_path / 'data'}", "data.train.dataset.count_train=6", "data.train.dataset.count_val=2",
            "data.val.dataset.count_train=6", "data.val.dataset.count_val=2"]  # fmt: skip
    config = toolkit.load_config("configs/tiny/faster_rcnn_shapes.yaml", overrides=data)
    built = assemble(config)
    known = built.model.object_sizes
    assert known is not None
    assert 1 < known.largest[0] <= 64
    metadata = model_metadata(built.model, to_yaml(built.config), built.datasets["train"])
    save_weights(tmp_path / "w.safetensors", built.model.state_dict(), metadata)
    assert restore(tmp_path / "w.safetensors").model.object_sizes == known
    metadata["object_sizes"] = "large"
    save_weights(tmp_path / "other.safetensors", built.model.state_dict(), metadata)
    assert restore(tmp_path / "other.safetensors").model.object_sizes is None
