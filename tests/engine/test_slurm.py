"""Processes as SLURM starts them, with its variables made by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_process import free_port
from lightning_fabric.plugins.environments import SLURMEnvironment
from tiny_run import write_tiny

from toolkit.engine import process
from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError

JOB = {
    "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "16", "SLURM_NTASKS_PER_NODE": "8",
    "SLURM_NNODES": "2", "SLURM_PROCID": "11", "SLURM_LOCALID": "3", "SLURM_NODEID": "1", "SLURM_NODELIST": "gpu[04-05]",
}  # fmt: skip


def in_job(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")] + ["MASTER_ADDR", "MASTER_PORT"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**JOB, **changes}.items():
        if value is not None:
            monkeypatch.setenv(name, value)


def test_fabric_and_we_read_the_same_job(monkeypatch: pytest.MonkeyPatch) -> None:
    in_job(monkeypatch)
    assert SLURMEnvironment.detect()
    found = SLURMEnvironment()
    assert (found.world_size(), found.global_rank(), found.local_rank(), found.node_rank()) == (16, 11, 3, 1)
    assert found.main_address == "gpu04"
    each, nodes = process.process_counts(TrainSettings(steps=1))
    assert (each, nodes) == (8, 2)
    found.validate_settings(each, nodes)  # Fabric's own check of the two


@pytest.mark.parametrize("changes", [{"SLURM_JOB_NAME": "interactive"}, {"SLURM_NTASKS": "1"}, {"SLURM_NTASKS": None}])
def test_one_task_and_interactive_jobs_follow_the_config(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None]
) -> None:
    in_job(monkeypatch, **changes)
    assert process.process_counts(TrainSettings(steps=1, devices=2)) == (2, 1)


@pytest.mark.parametrize("each", [None, "4", "x"])
def test_tasks_that_nodes_do_not_share_equally_are_refused(monkeypatch: pytest.MonkeyPatch, each: str | None) -> None:
    in_job(monkeypatch, SLURM_NTASKS_PER_NODE=each)
    with pytest.raises(ConfigError, match=r"srun: SLURM started 16 tasks on 2 node.*--ntasks-per-node"):
        process.process_counts(TrainSettings(steps=1))


def test_torchrun_inside_a_job_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    in_job(monkeypatch)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert process.process_counts(TrainSettings(steps=1)) == (2, 2)


@pytest.mark.slow
def test_two_tasks_train_as_one_run(tmp_path: Path) -> None:
    """What `srun --ntasks-per-node 2 toolkit train CONFIG --json` starts."""
    config = write_tiny(tmp_path, tmp_path / "data")
    tasks, port = [], free_port()  # else it follows from the number of the job, and may be taken
    for rank in ("0", "1"):
        job = {**JOB, "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
        job |= {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODELIST": "localhost", "OMP_NUM_THREADS": "1"}
        job |= {"MASTER_PORT": port}
        command = [sys.executable, "-m", "toolkit", "train", str(config), "--run", str(tmp_path / "run"), "--json"]
        pipe = subprocess.PIPE
        tasks.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **job}))
    told = [task.communicate() for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], told
    assert json.loads(told[0][0])["step"] == 8
    assert told[1] == ("", "") or "step" not in told[1][1]
    assert told[1][0] == ""
    assert "cpu x 2" in told[0][1]
