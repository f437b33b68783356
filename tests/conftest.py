"""What every test may use."""

from __future__ import annotations

# ruff: noqa: E402 - the environment is set before anything is imported that reads it
import gc
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# What a shell, a scheduler or a launcher around the tests may have set, and what would change what is printed or run.
for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
    del os.environ[name]
for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
    os.environ.pop(name, None)
for name in (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "TOOLKIT_NATIVE",
    "TOOLKIT_MALLOC",
    "CUBLAS_WORKSPACE_CONFIG",
    "LINES",
):
    os.environ.pop(name, None)
os.environ["COLUMNS"] = "80"

import numpy as np
import pytest
import torch
from command_line import Outcome, caller

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shard", default="1/1", metavar="I/N", help="Only the I-th of N parts of the test files.")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Folder of a real data set by name; skips the test, with a reason, where it is absent.

    They lie in $TOOLKIT_DATA, or in ../shared/data beside the repository.
    """
    root = Path(os.environ.get("TOOLKIT_DATA", REPOSITORY.parent / "shared" / "data"))

    def find(name: str) -> Path:
        if not (root / name).is_dir():
            pytest.skip(f"real data set '{name}' is not in {root} (set TOOLKIT_DATA)")
        return root / name

    return find


@pytest.fixture
def toolkit(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `toolkit ...` in this process."""
    return caller(capfd)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from or written into the cache of whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped where there is none; with `--shard`, whole files go to one part by their names."""
    number, parts = (int(text) for text in config.getoption("--shard").split("/"))
    mine = set(sorted({item.path for item in items})[number - 1 :: parts])
    config.hook.pytest_deselected(items=[item for item in items if item.path not in mine])
    items[:] = [item for item in items if item.path in mine]
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    """What importing all tests has made is never garbage: looking through it again and again would take a tenth of the time."""
    gc.collect()
    gc.freeze()


def seed() -> None:
    """Sets the random states of PyTorch, NumPy and Python."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what others may read
    random.seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: Any) -> None:
    """A fixture that several tests share is the same whichever of them comes first."""
    if fixturedef.scope != "function":
        seed()


@pytest.fixture(autouse=True)
def _process_as_found() -> Iterator[None]:
    """Every test starts from the same random state and leaves the process as it found it, whatever it calls."""
    seed()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    environment, folder = dict(os.environ), Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update({name: text for name, text in environment.items() if os.environ.get(name) != text})
    os.chdir(folder)
    for number, handler in handlers.items():
        signal.signal(number, handler)
