"""What is left out of a list, a table or a page is said where it is left out."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
import torch
from shipped_configs import CONFIGS
from tiny_anatomy import tiny_anatomy

from toolkit.analysis.describe import describe
from toolkit.backbones.resnet import ResNet
from toolkit.config.load import load_config
from toolkit.errors import DataError, listed
from toolkit.evaluators.coco import CocoEvaluator
from toolkit.heads.pixel import PixelHead
from toolkit.jobs.build import build_model
from toolkit.models.transfer import transfer
from toolkit.models.vision_model import VisionModel
from toolkit.ops.confusion import confusion_matrix
from toolkit.report.anatomy.diagram import diagram
from toolkit.report.anatomy.explain import explain_layer
from toolkit.report.anatomy.stages import board
from toolkit.report.check.blocks import statistic_blocks
from toolkit.samples import Boxes, Detections, Truth

PACKAGE = Path(__file__).resolve().parents[2] / "toolkit"
SAID = (" more", "...", "…")
"""How what is left out is said."""


def cuts(source: str) -> list[int]:
    """Lines of functions that join the first few of many into one text and say nothing of the others."""
    found, lines = [], source.splitlines()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        body = "\n".join(lines[function.lineno - 1 : function.end_lineno])
        said = any(word in body for word in SAID)
        for call in ast.walk(function):
            joins = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "join"
            if joins and isinstance(call.func.value, ast.Constant) and call.func.value.value in ("/", "."):
                continue  # a path, or the name of a layer, is no list
            slices = [part.slice for part in ast.walk(call) if isinstance(part, ast.Subscript)] if joins else []
            firsts = [cut for cut in slices if isinstance(cut, ast.Slice) and cut.lower is None]
            many = [cut for cut in firsts if isinstance(cut.upper, ast.Name) or _number(cut.upper) > 2]
            found += [call.lineno] if many and not said else []
    return found


def _number(node: ast.expr | None) -> int:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int) else 0


def test_a_text_of_the_first_few_says_that_there_are_more() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    found = {str(path.relative_to(PACKAGE)): cuts(path.read_text(encoding="utf-8")) for path in files}
    assert not {name: lines for name, lines in found.items() if lines}


def test_such_a_text_is_found() -> None:
    assert cuts("def f(names):\n    return ', '.join(names[:5])\n") == [2]
    assert not cuts("def f(names):\n    return ', '.join(names[:5]) + (' ...' if len(names) > 5 else '')\n")


def test_names_beyond_the_first() -> None:
    assert listed([f"n{i}" for i in range(20)], 3) == "n0, n1, n2 and 17 more"
    assert listed(["one"]) == "one"


def test_labels_outside_the_classes() -> None:
    labels = torch.arange(20, dtype=torch.uint8)[None].numpy()
    with pytest.raises(ValueError, match=r"3 \(1 pixels\).* and 12 more"):
        confusion_matrix(labels, labels * 0, 3)


def test_images_that_were_evaluated_twice() -> None:

    evaluator = CocoEvaluator(("a",))
    empty = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    truths = tuple(
        Truth(image_id=number, name=str(number), size=(8, 8), label_map=None, boxes=Boxes.of([], []))
        for number in range(12)
    )
    evaluator.update([empty] * 12, truths)
    evaluator.update([empty] * 12, truths)
    with pytest.raises(DataError, match=r"12 images .* and 2 more"):
        evaluator.compute()


def test_values_of_a_page() -> None:
    (block,) = statistic_blocks({"odd": ["x" * 40] * 99})
    assert "more letters" in block.note
    bars = statistic_blocks({"counts": {f"class {i}": i for i in range(60)}})
    assert bars[0].note == "and 20 more"


def test_answers_of_a_head_on_a_drawing() -> None:
    anatomy = tiny_anatomy()
    head = next(part for part in anatomy.parts if part.name == "head")
    many = dataclasses.replace(head, output=tuple((f"map{i}", (1, 2, 3)) for i in range(9)))
    parts = tuple(many if part.name == "head" else part for part in anatomy.parts)
    drawn = diagram(dataclasses.replace(anatomy, parts=parts), board(anatomy))
    assert "gives map5" in drawn
    assert "and 3 more" in drawn


def test_sources_of_a_layer() -> None:
    anatomy = tiny_anatomy()
    rows = list(anatomy.layers)
    copies = [dataclasses.replace(rows[0], name=f"copy{i}") for i in range(9)]
    joined = dataclasses.replace(
        rows[0], name="joined", kind="concat", kernel=None, inputs=(rows[0].inputs[0],) * 9,
        sources=tuple(copy.name for copy in copies),
    )  # fmt: skip
    lines = explain_layer(dataclasses.replace(anatomy, layers=(*copies, joined)), "joined")
    assert any(line.strip().startswith("fields before") and "and 3 more" in line for line in lines)


def test_a_batch_that_cannot_be_trained_is_said_in_a_description() -> None:
    """One image whose last map is a single cell: batch statistics of one number; the row for it was left away."""
    with torch.device("meta"):
        backbone = ResNet(18)
        model = VisionModel(backbone, None, PixelHead(backbone.spec, 2, stride=32), ("a", "b"))
    anatomy = describe(model, (32, 32), batch_size=2)
    assert [row.images for row in anatomy.memory.training] == [2]
    assert any("for 1 image" in note for note in anatomy.notes)


def test_new_classes_of_a_transfer() -> None:
    config = load_config(
        CONFIGS / "tiny/unet_shapes.yaml", ["data.classes=[" + ",".join(f"c{i}" for i in range(15)) + "]"]
    )
    model = build_model(config, pretrained=False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = transfer(model, state, ["c0", *(f"old{i}" for i in range(14))])
    assert any("and 2 more" in line for line in report.lines())
