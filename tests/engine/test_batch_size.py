"""The largest batch that fits: the search, the trials, and what a run makes of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from fresh_process import run_fresh
from tiny_run import tiny_config

from toolkit.analysis.device_memory import Memory
from toolkit.engine import batch_size
from toolkit.engine.batch_size import largest_batch, largest_fitting
from toolkit.engine.process import make_fabric
from toolkit.errors import ConfigError, UserError
from toolkit.jobs.assemble import largest_samples
from toolkit.jobs.build import build_model, build_optimizer_rule
from toolkit.jobs.build_data import build_dataset
from toolkit.jobs.evaluate import run_evaluation
from toolkit.jobs.train import run_training

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory there is")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes") / "data"


@pytest.mark.parametrize("most", [1, 2, 7, 64])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 8, 13, 63, 64, 1000])
def test_the_search_finds_the_largest(most: int, limit: int) -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= limit

    assert largest_fitting(fits, most) == min(most, limit)
    assert len(set(tried)) == len(tried)
    assert max(tried) <= max(1, min(most, 2 * limit))  # never far beyond what fits


def memory_of(monkeypatch: pytest.MonkeyPatch, each: int, free: int, seconds: float = 0.0) -> None:
    """A machine of `free` bytes where a step holds `each` bytes an image and 100 besides, and takes `seconds` an image."""
    held, now = [0], [0.0]
    real = batch_size._Trials._update

    def update(self: Any, images: int) -> None:
        real(self, images)
        self.kept = 0
        held[0] = 1000 + 100 + each * images
        now[0] += seconds * images

    monkeypatch.setattr(batch_size._Trials, "_update", update)
    monkeypatch.setattr(batch_size, "device_memory", lambda device: Memory(10**9, free, 1000))
    monkeypatch.setattr(batch_size, "kept_by", lambda model, images: 0)
    monkeypatch.setattr(batch_size, "reset_peak", lambda: True)
    monkeypatch.setattr(batch_size, "peak", lambda: held[0])
    monkeypatch.setattr(batch_size, "time", SimpleNamespace(monotonic=lambda: now[0]))


@pytest.mark.slow
def test_trials_on_a_cpu_stay_within_what_is_free(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(data)
    dataset = build_dataset(config, "train")
    model = build_model(config, pretrained=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    memory_of(monkeypatch, each=70, free=1000)  # 80 % of it: 100 + 70 * 10 is the most
    random = torch.get_rng_state()
    fabric, samples = make_fabric(config.train), largest_samples(config, dataset)
    fit = largest_batch(fabric, model, build_optimizer_rule(config), config.train, samples, most=64)
    assert fit.images == 10
    assert fit.tried == (1, 2, 4, 8, 10)  # 16, 12 and 11 are known not to fit
    assert (fit.peak, fit.limit) == (1800, 1800)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_slow_cpu_is_believed_instead_of_tried(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(data)
    memory_of(monkeypatch, each=70, free=10_000, seconds=5.0)
    fabric, samples = make_fabric(config.train), largest_samples(config, build_dataset(config, "train"))
    model = build_model(config, pretrained=False)
    fit = largest_batch(fabric, model, build_optimizer_rule(config), config.train, samples, most=64)
    assert fit.images == 64
    assert fit.tried == (1, 2, 4)  # 8 images would take 40 seconds, and 20 are the most
    assert (fit.peak, fit.limit) == (1000 + 100 + 70 * 64, 1000 + 8000)


def test_not_even_one(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_of(monkeypatch, each=5000, free=1000)
    with pytest.raises(UserError, match=r"data\.batch_size: not even one image of 32x40 fits.*smaller images"):
        run_training(tiny_config(data, "data.batch_size=auto"), data.parent / "none", quiet=True)
    assert not (data.parent / "none").exists()


def test_a_device_that_says_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "device_memory", lambda device: None)
    with pytest.raises(ConfigError, match="cannot see how much memory cpu has; give a number"):
        run_training(tiny_config(data, "data.batch_size=auto"), data.parent / "none", quiet=True)


def test_a_run_keeps_the_number(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, auto = tmp_path / "run", ("data.batch_size=auto", "train.schedule=null")
    memory_of(monkeypatch, each=250, free=1000)  # 2 images
    run_training(tiny_config(data, *auto, "train.steps=2"), run, quiet=True)
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["batch_size"] == 2
    log = (run / "train.log").read_text()
    assert "batch      auto: 2 images; tried 1, 2 a process; " in log
    assert "the learning rate stays 0.01 whatever the batch" in log
    memory_of(monkeypatch, each=100, free=1000)  # more would fit now
    run_training(tiny_config(data, *auto, "train.steps=4"), run, resume=True, quiet=True)
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["batch_size"] == 2
    # The search has left no trace in the result; 2 is what the plain config says.
    run_training(tiny_config(data, "train.schedule=null", "train.steps=4"), tmp_path / "plain", quiet=True)
    resumed, plain = (torch.load(folder / "last.state")["model"] for folder in (run, tmp_path / "plain"))
    assert all(torch.equal(resumed[name], plain[name]) for name in plain)
    assert run_evaluation(run)["images"] == 3


@pytest.mark.slow
def test_the_data_set_is_the_most(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_of(monkeypatch, each=1, free=10**6)
    run_training(tiny_config(data, "data.batch_size=auto", "train.steps=1"), tmp_path / "run", quiet=True)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["batch_size"] == 6


REAL_MEMORY = """
import sys
from tiny_run import tiny_config
from toolkit.engine import batch_size
from toolkit.engine.process import make_fabric
from toolkit.jobs.assemble import largest_samples
from toolkit.jobs.build import build_model, build_optimizer_rule
from toolkit.jobs.build_data import build_dataset
real = batch_size.device_memory
batch_size.device_memory = lambda device: real(device)._replace(free=int(60e6 / batch_size.CPU_SHARE))
config = tiny_config(sys.argv[1], "model.backbone.width=64")
samples = largest_samples(config, build_dataset(config, "train"))
rule, model = build_optimizer_rule(config), build_model(config, pretrained=False)
fit = batch_size.largest_batch(make_fabric(config.train), model, rule, config.train, samples, most=64)
print(fit.images, fit.peak, fit.limit)
"""


@linux
@pytest.mark.slow
def test_with_the_memory_there_is(data: Path) -> None:
    """Real numbers: 60 MB more than now, of which wide units take some ten an image. In a process of its own: one that
    has run other tests has memory in hand that the system does not count again."""
    images, peak, limit = map(int, run_fresh(REAL_MEMORY, data).split())
    assert 1 <= images < 64
    assert peak <= limit


@pytest.mark.gpu
def test_on_a_gpu(data: Path) -> None:
    """A tenth of the device: the answer fits, and twice as many do not."""
    config = tiny_config(data, "train.device=cuda", "model.backbone.width=64")
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        dataset = build_dataset(config, "train")
        fit = largest_batch(
            make_fabric(config.train), build_model(config, pretrained=False), build_optimizer_rule(config), config.train,
            largest_samples(config, dataset), most=4096,
        )  # fmt: skip
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 1 <= fit.images < 4096
    assert fit.images in fit.tried
    assert any(tried > fit.images for tried in fit.tried)


@pytest.mark.gpu
def test_a_step_that_does_not_fit_a_gpu(data: Path, tmp_path: Path) -> None:
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        with pytest.raises(
            UserError, match=r"training step 0 does not fit into the memory of cuda:0.*data.batch_size=32"
        ):
            run_training(
                tiny_config(data, "train.device=cuda", "model.backbone.width=64", "data.batch_size=64"),
                tmp_path / "run",
                quiet=True,
            )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
