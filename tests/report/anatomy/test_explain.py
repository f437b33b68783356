"""The arithmetic that is printed for a layer gives the layer's numbers."""

from __future__ import annotations

import re

import pytest
from tiny_run import TINY

from toolkit.config.load import parse_config
from toolkit.config.sections import Config
from toolkit.jobs.describe import describe_config
from toolkit.report.anatomy.explain import explain_layer

SMALL = {
    "tokens": ["model.backbone={name: smp, encoder: mit_b0}", "model.neck={name: smp, decoder: segformer}"],
    "maps": [],
}


def config_of(*overrides: str) -> Config:
    return parse_config(TINY, "tiny.yaml", ["data.root=nowhere", *overrides])


def product(text: str) -> int:
    """Of "3 * 3 * 8 * 16 + 16 biases", the words left away."""
    plain = re.sub(r"[a-z,]+", "", text)
    total = 0
    for summand in plain.split("+"):
        value = 1
        for factor in summand.split("*"):
            value *= int(factor)
        total += value
    return total


@pytest.mark.parametrize("net", SMALL)
def test_products_give_parameters_and_macs(net: str) -> None:
    anatomy = describe_config(config_of(*SMALL[net]), (64, 96))
    checked = 0
    for row in anatomy.layers:
        if row.kind not in ("linear", "conv", "transposed conv") or "groups" in row.settings or not row.runs:
            continue
        lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in explain_layer(anatomy, row.name)[1:]}
        for word, number in (("parameters", row.parameters), ("MACs", row.macs)):
            formula, _, result = lines[word].rpartition(" = ")
            if number and formula:  # a layer met again has its parameters told where it was first
                assert product(formula) == number == int(result.replace(",", "")), lines[word]
                checked += 1
        assert " = " in lines["MACs"], row.name
    assert checked > 10


def test_a_linear_layer_of_a_map_reads_one_cell() -> None:
    anatomy = describe_config(config_of(*SMALL["tokens"]), (64, 96))
    (row,) = [row for row in anatomy.layers if row.name.endswith("block1.0.mlp.fc1")]
    assert row.kind == "linear"
    text = "\n".join(explain_layer(anatomy, row.name))
    assert f"every one of {row.inputs[0][0]} numbers to each output, at every cell" in text


def test_a_size_that_the_model_refuses_is_replaced_and_that_is_said() -> None:
    """Only where the transforms say it; a size that was asked for is refused."""
    smp = ["model.backbone={name: smp, encoder: resnet18}", "model.neck={name: smp}"]
    for size, taken in (((70, 64), (96, 64)), ((64, 64), (64, 64))):
        resize = f"data.train.transforms=[{{name: resize, height: {size[0]}, width: {size[1]}}}]"
        anatomy = describe_config(config_of(*smp, resize))
        assert anatomy.input == (3, *taken)
        said = [note for note in anatomy.notes if "does not take" in note]
        assert [("70x64" in note, "96x64" in note) for note in said] == [(True, True)] * (size != taken)
