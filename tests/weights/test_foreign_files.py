"""Weights of other programs are judged by what is in the file, whatever it is called."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from toolkit.errors import CheckpointError
from toolkit.jobs.start_from import given_weights
from toolkit.models.weights import read_weights as read_own
from toolkit.weights.read import read_weights

STATE = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), bias=torch.ones(2))


def wrapped(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


FORMS: dict[str, Any] = {
    "plain": dict(STATE),
    "lightning": {
        "epoch": 3,
        "pytorch-lightning_version": "2",
        "state_dict": wrapped("model."),
        "optimizer_states": [],
    },
    "torchvision reference": {"model": dict(STATE), "args": argparse.Namespace(lr=0.1), "epoch": 1},
    "data parallel": wrapped("module."),
    "twice wrapped": {"state_dict": wrapped("model.module.")},
    "averaged by torch": {**wrapped("module."), "n_averaged": torch.tensor(7)},
    "under a name of one's own": {"net": dict(STATE), "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
    "with averaged weights beside": {"model": dict(STATE), "model_ema": wrapped("module.")},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["a.ckpt", "a.pth", "a.safetensors", "weights"])
@pytest.mark.parametrize("legacy", [False, True])
def test_the_name_of_a_file_means_nothing(tmp_path: Path, form: str, name: str, legacy: bool) -> None:
    torch.save(FORMS[form], tmp_path / name, _use_new_zipfile_serialization=not legacy)
    found = read_weights(str(tmp_path / name))
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


def test_averaged_weights_that_are_left_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(FORMS["with averaged weights beside"], tmp_path / "a.pth")
    read_weights(str(tmp_path / "a.pth"))
    assert "tensors of 'model' are taken; model_ema beside them left" in caplog.text


def test_a_wrapper_is_taken_off_in_both_formats(tmp_path: Path) -> None:
    torch.save(wrapped("module."), tmp_path / "a.pth")
    save_file(wrapped("module."), tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        assert given_weights(str(tmp_path / name)).state.keys() == STATE.keys()


def test_safetensors_under_another_name(tmp_path: Path) -> None:
    save_file(wrapped("model."), tmp_path / "a.ckpt")
    assert read_weights(str(tmp_path / "a.ckpt")).keys() == STATE.keys()


class Own:
    pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": dict(STATE), "hyper": Own()}, r"it holds objects beside tensors \(test_foreign_files\.Own\)"),
        ({"a": 1}, r"holds no state dict .* 1 entries, of which a \(int\); save the net's state_dict"),
        ([1, 2], "holds no state dict .* but a list"),
        ({"ema": dict(STATE), "raw": dict(STATE)}, r"holds 2 state dicts, ema, raw; .*\['ema'\]"),
        (b"hello, this is text and no weights", "it begins neither"),
        (b"PK\x03\x04 and nothing more", "truncated or damaged"),
    ],
)
def test_what_holds_no_weights_is_said_in_our_words(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_weights(str(path))
    assert "weights_only" not in str(caught.value)
    assert "torch.load" not in str(caught.value)


def test_a_run_is_no_file_of_torch(tmp_path: Path) -> None:
    torch.save(dict(STATE), tmp_path / "best.safetensors")
    with pytest.raises(CheckpointError, match=r"is a file of torch\.save.*model\.init_from"):
        read_own(tmp_path / "best.safetensors")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_called_so(share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.zeros(100, 100), "bias": torch.zeros(5000)}, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_weights(str(path))
