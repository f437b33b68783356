"""Eight bits are for the net: products of matrices that resize pictures before it stay as they are."""

from __future__ import annotations

import pytest

from toolkit.export.int8 import not_of_the_net

onnx = pytest.importorskip("onnx")


def test_products_before_the_first_convolution_are_left_as_they_are() -> None:
    rows = [
        ("MatMul", ["picture", "rows"], "low"),
        ("Transpose", ["low"], "turned"),
        ("MatMul", ["turned", "columns"], "small"),
        ("Conv", ["small", "kernel"], "map"),
        ("Relu", ["map"], "positive"),
        ("Gemm", ["positive", "weights"], "logits"),
    ]
    nodes = [onnx.helper.make_node(kind, given, [made], name=f"node {made}") for kind, given, made in rows]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "net", [], []))
    assert not_of_the_net(model) == ["node low", "node small"]
