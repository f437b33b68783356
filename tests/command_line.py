"""The command line in this process: its exit code and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from toolkit.cli.main import run


class Outcome(NamedTuple):
    """What a command line gave. told: standard output and error together."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def caller(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """A function that runs `toolkit ...` in this process; no traceback is ever shown."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Outcome(code, out, err)

    return call
