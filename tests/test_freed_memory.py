"""glibc's thresholds: raised by the command line for verbs that run nets, and by nothing else."""

from __future__ import annotations

import ast
import ctypes
import platform
from types import SimpleNamespace

import pytest
from package_trees import NAMES, imports_of_files

from toolkit import freed_memory
from toolkit.cli.main import run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What glibc is asked for, without being asked."""
    found: list[tuple[int, int]] = []
    libc = SimpleNamespace(mallopt=lambda name, value: found.append((name, value)) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    monkeypatch.setattr(freed_memory, "_kept", False)
    monkeypatch.setattr(freed_memory.sys, "platform", "linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    return found


def test_glibc_is_asked_for_both_thresholds(asked: list[tuple[int, int]]) -> None:
    assert freed_memory.keep_freed_memory()
    assert freed_memory.is_kept()
    assert asked == [(-3, 1 << 30), (-1, 2**31 - 1)]  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


@pytest.mark.parametrize("why", ["turned off", "another library", "another system", "no such function"])
def test_otherwise_nothing_happens(why: str, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "turned off":
        monkeypatch.setenv("TOOLKIT_MALLOC", "0")
    elif why == "another library":
        monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    elif why == "another system":
        monkeypatch.setattr(freed_memory.sys, "platform", "darwin")
    else:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not freed_memory.keep_freed_memory()
    assert not freed_memory.is_kept()
    assert asked == []


def test_a_verb_that_runs_nets_asks_and_others_do_not(asked: list[tuple[int, int]]) -> None:
    assert run(["list", "--help"]) == 0
    assert asked == []
    assert run(["train", "--help"]) == 0
    assert len(asked) == 2


def test_only_the_command_line_can_ask() -> None:
    importers = {name for name, imported in imports_of_files().items() if "toolkit.freed_memory" in imported}
    asking = {name for name in importers if "keep_freed_memory" in ast.dump(ast.parse(NAMES[name].read_text()))}
    assert asking == {"toolkit.cli.main"}
