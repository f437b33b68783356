"""`deterministic: true` keeps its word, and every shipped small config can train under it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config

from toolkit.config.load import load_config
from toolkit.config.sections import Config
from toolkit.engine.prepare import LossModule
from toolkit.engine.process import make_fabric, not_deterministic, set_determinism
from toolkit.errors import ConfigError
from toolkit.jobs.assemble import assemble, largest_samples
from toolkit.jobs.diagnostics import dry_run
from toolkit.samples import collate

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "tiny"
REAL = {"camvid": "camvid", "em_membranes": "em_membranes"}
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "own_pictures")


@pytest.fixture(autouse=True)
def _back() -> Any:
    yield
    set_determinism(False, "cpu")


def config_of(name: str, folder: Path, real_data: Callable[[str], Path], *overrides: str) -> Config:
    """A shipped small config on its data, or on shapes made for it."""
    text = (CONFIGS / f"{name}.yaml").read_text()
    root = next((real_data(REAL[word]) for word in REAL if f"root: data/{word}" in text), folder / "data")
    return load_config(CONFIGS / f"{name}.yaml", [f"data.root={root}", *overrides])


def test_there_are_small_configs() -> None:
    assert len(NAMES) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_small_configs_do_one_step_of_everything(name: str, tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    options = ["train.deterministic=true", "train.device=cpu", "data.batch_size=2", "data.workers=0", "train.threads=1"]
    config = config_of(name, tmp_path, real_data, *options)
    assert dry_run(config, quiet=True)["ok"]
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_small_configs_repeat_on_a_gpu(name: str, tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    """Two steps, twice: gradients to the bit."""
    config = config_of(name, tmp_path, real_data, "train.deterministic=true", "train.device=cuda")
    fabric = make_fabric(config.train)

    def gradients() -> list[torch.Tensor]:
        built = assemble(config)
        model = built.model.to(fabric.device).train()
        samples = largest_samples(config, built.datasets["train"])
        batch = fabric.to_device(collate([samples[number % len(samples)] for number in range(2)]))
        for seed in range(2):
            torch.manual_seed(seed)
            torch.stack(list(LossModule(model)(batch).values())).sum().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    first, second = gradients(), gradients()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_is_set() -> None:
    set_determinism(True, "cpu")
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")
    set_determinism(False, "cpu")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


def test_a_workspace_that_does_not_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    set_determinism(False, "cuda")
    set_determinism(True, "cpu")
    with pytest.raises(
        ConfigError, match=r"CUBLAS_WORKSPACE_CONFIG to be :4096:8 or :16:8, found ':0:0'; unset it|unset"
    ):
        set_determinism(True, "cuda")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set",
            "adaptive_avg_",
        ),
        ("cumsum_cuda_kernel does not have a deterministic implementation, but you set", "cumsum_cuda_kernel"),
        ("put_ does not have a deterministic implementation, but", "put_"),
    ],
)
def test_operations_are_named(text: str, name: str) -> None:
    found = not_deterministic(RuntimeError(text))
    assert found is not None
    assert found.problems[0].message.startswith(f"the operation {name}")
    assert not_deterministic(RuntimeError("something else")) is None
    assert not_deterministic(ValueError(text)) is None


@pytest.mark.gpu
def test_pytorchs_own_refusal_is_recognised() -> None:
    set_determinism(True, "cuda")
    values = torch.rand(1, 1, 2, 2, device="cuda")
    places = torch.zeros(1, 1, 2, 2, dtype=torch.int64, device="cuda")
    with pytest.raises(RuntimeError) as refused:
        torch.nn.functional.max_unpool2d(values, places, 2)
    assert not_deterministic(refused.value) is not None


@pytest.mark.gpu
def test_matrix_products_run_after_a_run_that_was_not_deterministic(tmp_path: Path) -> None:
    """cuBLAS reads its workspace once a process."""
    for wanted in ("false", "true"):
        make_fabric(tiny_config(tmp_path, "train.device=cuda", f"train.deterministic={wanted}").train)
        x = torch.rand(64, 64, device="cuda")
        assert torch.isfinite(x @ x).all()
