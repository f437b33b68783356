"""What the verb is asked for and cannot do is refused before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.cli.main import run
from toolkit.errors import ConfigError
from toolkit.export import installed
from toolkit.export.installed import needed


@pytest.mark.parametrize("options", [["--size", "64x64"], ["--int8"], ["--samples", "photos"], ["model.samples=2"]])
def test_options_of_programs_are_refused_where_weights_are_written(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(tmp_path), "--to", "timm", *options]) == 2
    assert "of programs alone" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_a_usage_mistake_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"openvino and onnx are not installed; pip install openvino onnx") as found:
        needed("openvino", "onnx")
    assert found.value.exit_code == 2
