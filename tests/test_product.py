"""What `import toolkit` offers: the names, that they cost nothing until they are used, and that checkers see them."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from fresh_process import run_fresh
from tiny_run import tiny_config

import toolkit
from toolkit.errors import ConfigError

PACKAGE = Path(toolkit.__file__).parent
VERBS = {"build_model", "check", "describe", "evaluate", "load_config", "load_model", "predict", "train"}
NETS = {"classifier", "dilated", "faster_rcnn", "segnet", "segnet_basic", "unet"}


def test_every_name_is_shown_and_found() -> None:
    assert dir(toolkit) == sorted(toolkit.__all__)
    assert {*VERBS, *NETS, "Sample", "Boxes", "Batch", "LabelMap", "Detections"} <= set(dir(toolkit))
    assert {"Backbone", "Neck", "Head", "PixelLoss", "Dataset", "Evaluator", "BACKBONES"} <= set(dir(toolkit))
    for name in dir(toolkit):
        assert getattr(toolkit, name) is not None
    for name in VERBS | NETS:
        assert callable(getattr(toolkit, name))
        assert (getattr(toolkit, name).__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'unett'"):
        toolkit.unett  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    """What is imported under TYPE_CHECKING, what is found at run time and `__all__` are one list."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == toolkit._HOME_OF
    assert {*seen, "__version__"} == set(toolkit.__all__)


def test_no_folder_hides_a_function() -> None:
    """`import toolkit.check`, were there such a module, would put it where the function was."""
    for name in toolkit.__all__:
        assert not (PACKAGE / name).exists()
        assert not (PACKAGE / f"{name}.py").exists()


def test_importing_it_imports_nothing() -> None:
    script = (
        "import sys, toolkit; dir(toolkit); print([m for m in ('torch', 'numpy', 'cv2', 'yaml') if m in sys.modules])"
    )
    assert run_fresh(script).strip() == "[]"


def test_a_registry_knows_its_parts_at_once() -> None:
    script = "import toolkit; print(all(len(getattr(toolkit, n).names()) > 1 for n in dir(toolkit) if n.isupper()))"
    assert run_fresh(script).strip() == "True"


def test_the_whole_job_in_python(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "data", "train.steps=2", "data.batch_size=1", "train.evaluate_every=2")
    assert toolkit.check(config).errors == []
    run = toolkit.train(config, tmp_path / "run", quiet=True)
    assert run.step == 2
    found = toolkit.evaluate(run)
    assert found.metrics["mIoU"] == run.metrics["mIoU"]
    model = toolkit.load_model(run)
    assert toolkit.describe(model).parameters == toolkit.describe(config).parameters
    (result,) = toolkit.predict(model, np.zeros((32, 40, 3), np.uint8))
    assert result.prediction is not None
    assert result.prediction.numpy().shape == (32, 40)


def test_a_config_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"wanted a config .* found dict"):
        toolkit.check({"model": {}})  # type: ignore[arg-type]
