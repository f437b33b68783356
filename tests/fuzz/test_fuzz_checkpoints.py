"""Whatever stands in a checkpoint: a model, or one message that names the file; never a traceback, never code run."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_mutations import mutated_state, mutated_weights
from config_mutations import garbled

sys.path.insert(0, str(Path(__file__).parent))

import hostile_states
from tiny_run import write_tiny

import toolkit
from toolkit.cli.main import run
from toolkit.engine.checkpoint import load_state
from toolkit.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.yaml, its data, and one finished run."""
    folder = tmp_path_factory.mktemp("made")
    config = write_tiny(folder, folder / "data")
    assert run(["train", str(config), "train.steps=2", "--run", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of the run to spoil."""
    return Path(shutil.copytree(made / "run", tmp_path / "spoilt"))


def says_one_thing(code: int, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Done, or an exit code and at most a few lines that name the file."""
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert code in (0, 1, 2)
    result = json.loads(out)
    if code:
        assert result["errors"]
        assert len(result["errors"]) <= 7
        assert name in json.dumps(result["errors"])
        assert all(len(error["message"]) < 1000 for error in result["errors"])


def picture(made: Path) -> str:
    return str(next((made / "data" / "images" / "val").iterdir()))


def spoil_weights(made: Path, seeds: range, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (made / "run" / "best.safetensors").read_bytes()
    file = tmp_path / "spoilt.safetensors"
    refused = 0
    for seed in seeds:
        file.write_bytes(mutated_weights(good, seed))
        said = "spoilt.safetensors"
        try:
            model = toolkit.load_model(file)
            assert [result.reason for result in toolkit.predict(model, [picture(made)])] == [""]
        except UserError as error:
            refused += 1
            said = str(error)
        assert "spoilt.safetensors" in said, seed
        capsys.readouterr()
        if seed % 3 == 0:
            says_one_thing(run(["evaluate", str(file), "--json"]), capsys, "spoilt.safetensors")
        elif seed % 3 == 1:
            out = str(tmp_path / f"out{seed}")  # a folder of another model is refused
            says_one_thing(
                run(["predict", str(file), picture(made), "--out", out, "--json"]), capsys, "spoilt.safetensors"
            )
    assert refused > len(seeds) / 2


def test_spoilt_weights(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil_weights(made, range(18), tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(18, 618, 100))
def test_many_spoilt_weights(start: int, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil_weights(made, range(start, start + 100), tmp_path, capsys)


def resume(made: Path, folder: Path) -> int:
    return run(["train", str(made / "tiny.yaml"), "train.steps=3", "--run", str(folder), "--resume", "--json"])


def spoil_state(made: Path, seed: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = made / "run" / "last.state"
    if seed % 2:
        torch.save(mutated_state(torch.load(good, weights_only=True), seed), folder / "last.state")
    else:
        (folder / "last.state").write_bytes(garbled(good.read_bytes(), seed))
    says_one_thing(resume(made, folder), capsys, str(folder))


@pytest.mark.parametrize("seed", range(10))
def test_spoilt_states(seed: int, made: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil_state(made, seed, copy, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 160))
def test_many_spoilt_states(seed: int, made: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil_state(made, seed, copy, capsys)


def test_no_state_file_runs_code(made: Path, tmp_path: Path) -> None:
    good = (made / "run" / "last.state").read_bytes()
    state = torch.load(io.BytesIO(good), weights_only=True)
    marker = tmp_path / "owned"
    file = tmp_path / "hostile.state"
    for name, data in hostile_states.whole_files(state, good, marker).items():
        file.write_bytes(data)
        with pytest.raises(UserError) as caught:
            load_state(file)
        assert not marker.exists(), name
        assert "hostile.state" in str(caught.value), name
        assert len(caught.value.problems) == 1, name
        assert "\x1b" not in str(caught.value), name
        assert "weights_only" not in str(caught.value), name  # torch's advice to read it without care


@pytest.mark.slow
def test_no_field_of_a_state_is_believed(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load(made / "run" / "last.state", weights_only=True)
    for name, changed in hostile_states.fields(state).items():
        folder = Path(shutil.copytree(made / "run", tmp_path / name.replace(" ", "_")))
        torch.save(changed, folder / "last.state")
        code = resume(made, folder)
        assert code in (1, 2) or name == "scaler", name
        says_one_thing(code, capsys, str(folder))


def test_a_model_of_a_terabyte_is_refused_before_it_is_built(made: Path, tmp_path: Path) -> None:
    from checkpoint_mutations import safetensors_file, safetensors_parts

    header, tensors = safetensors_parts((made / "run" / "best.safetensors").read_bytes())
    config = json.loads(header["__metadata__"]["config"])
    assert "width: 4" in config
    header["__metadata__"]["config"] = json.dumps(config.replace("width: 4", "width: 40000"))
    file = tmp_path / "large.safetensors"
    file.write_bytes(safetensors_file(header, tensors))
    with pytest.raises(UserError, match=r"large\.safetensors: \d+ tensors have another shape"):
        toolkit.load_model(file)


def test_a_checkpoint_imports_none_of_pythons_modules(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from checkpoint_mutations import safetensors_file, safetensors_parts

    monkeypatch.delitem(sys.modules, "this", raising=False)
    header, tensors = safetensors_parts((made / "run" / "best.safetensors").read_bytes())
    config = json.loads(header["__metadata__"]["config"])
    header["__metadata__"]["config"] = json.dumps(config.replace("name: unet_encoder", "name: this:s"))
    file = tmp_path / "importing.safetensors"
    file.write_bytes(safetensors_file(header, tensors))
    with pytest.raises(UserError, match="--trust-code"):
        toolkit.load_model(file)
    with pytest.raises(UserError, match="a module of Python's own"):
        toolkit.load_model(file, trust_code=True)
    assert "this" not in sys.modules
