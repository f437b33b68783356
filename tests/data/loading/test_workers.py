"""Loader workers leave signals to their parent, obey it, and are named when one of them dies."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from tiny_run import tiny_config

from toolkit.data.loading.loader import Loader, train_loader
from toolkit.data.loading.workers import worker_deaths_explained
from toolkit.errors import UserError
from toolkit.jobs.build_data import build_dataset
from toolkit.samples import Batch

pytestmark = pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="workers are told apart on Linux only")


def children() -> set[int]:
    return {int(one) for one in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    yield train_loader(build_dataset(tiny_config(tmp_path / "data"), "train"), [], 2, 0, workers=2)
    gc.collect()  # an error's traceback keeps the workers


def started(loader: Loader) -> tuple[Iterator[Batch], list[int]]:
    before = children()
    batches = iter(loader)
    next(batches)
    return batches, sorted(children() - before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_whole_group_leaves_the_workers_at_work(loader: Loader, number: signal.Signals) -> None:
    batches, workers = started(loader)
    assert len(workers) == 2
    helper = os.fork()  # a signal of the parent is another matter: somebody else has to send it
    if helper == 0:
        for worker in workers:
            os.kill(worker, number)
        os._exit(0)
    os.waitpid(helper, 0)
    assert len(list(islice(batches, 20))) == 20
    assert children() >= set(workers)


def test_the_parent_can_end_its_workers(loader: Loader) -> None:
    batches, workers = started(loader)
    os.kill(workers[0], signal.SIGTERM)
    ended = os.waitid(os.P_PID, workers[0], os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert ended.si_status == 0
    del batches


@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGKILL, "most likely because memory ran out"), (signal.SIGBUS, "shared memory"), (signal.SIGUSR1, "")],
)
def test_a_worker_that_was_killed_is_named(loader: Loader, number: signal.Signals, cause: str) -> None:
    batches, workers = started(loader)
    os.kill(workers[1], number)
    with pytest.raises(UserError) as caught, worker_deaths_explained():
        list(islice(batches, 1000))
    (problem,) = caught.value.problems
    assert problem.where == "data.workers"
    assert f"(process {workers[1]}) was killed (signal {number.value}, {number.name})" in problem.message
    assert cause in problem.message
    assert "--resume" in problem.suggestion


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="something else"), worker_deaths_explained():
        raise RuntimeError("something else")
