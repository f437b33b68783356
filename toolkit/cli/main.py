"""`toolkit VERB ...`: finds the verb, and turns every error into one message and an exit code.

A verb's file is imported when that verb is called, and imports the machinery inside its function: `toolkit --help`
and a wrong option shall not wait for torch. Exit codes: 0 done, 1 the work failed, 2 usage or config, 130 stopped.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import toolkit.cli
from toolkit.cli.defect import defect
from toolkit.cli.habits import option_meant, verb_meant
from toolkit.cli.options import print_json, say
from toolkit.errors import ConfigError, Place, Problem, UserError
from toolkit.files import cannot_write, is_full
from toolkit.freed_memory import keep_freed_memory
from toolkit.version import __version__

_ORDER = (
    "demo",
    "init",
    "new",
    "check",
    "describe",
    "train",
    "evaluate",
    "report",
    "compare",
    "runs",
    "thresholds",
    "predict",
    "merge",
    "export",
    "split",
    "convert",
    "study",
    "weights",
    "list",
    "schema",
    "doctor",
)
"""How `toolkit --help` shows verbs: the way of a first day; any other verb comes after them."""
_WITH_NETS = ("demo", "train", "evaluate", "thresholds", "predict", "study")
"""Verbs in which nets run long enough for the memory of their process to be set up (`freed_memory.py`)."""


def verbs() -> list[str]:
    """Names of all verbs: the modules of this folder that define a `command`."""
    names = [info.name for info in pkgutil.iter_modules(toolkit.cli.__path__) if verb(info.name) is not None]
    return sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def verb(name: str) -> click.Command | None:
    """The command of a verb, or None for a name that is none. Imports that verb's file only."""
    if not name.isidentifier() or importlib.util.find_spec(f"toolkit.cli.{name}") is None:
        return None
    return getattr(importlib.import_module(f"toolkit.cli.{name}"), "command", None)


def _verb_meant(args: list[str]) -> str:
    first = args[0]
    if first.endswith((".yaml", ".yml")):
        return f"the verb comes first: toolkit train {' '.join(args)}"
    return verb_meant(first, verbs(), args[1:])


class _Verbs(click.Group):
    """Imports a verb's file when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return verbs()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return verb(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and verb(args[0]) is None:
            ctx.fail(f"no verb '{args[0]}'; {_verb_meant(args)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            commands = {name: verb(name) for name in verbs()}
            formatter.write_dl([(name, found.get_short_help_str(120)) for name, found in commands.items() if found])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="toolkit")
def command_line() -> None:
    """Semantic segmentation and object detection on your own pictures.

    Start with: toolkit demo
    """


def run(arguments: Sequence[str], program: click.Command = command_line, name: str = "toolkit") -> int:
    """Runs one command line and returns its exit code.

    Args:
        arguments: the words after the program's name.
        program: what they are words of.
        name: what that is called in messages.
    """
    wants_json = "--json" in arguments
    if arguments and arguments[0] in _WITH_NETS:
        keep_freed_memory()
    try:
        result = program.main(args=list(arguments), prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        usage = _usage_error(error, arguments)
        if isinstance(error, click.UsageError) and error.ctx is not None:
            say(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
        return report(usage, wants_json=wants_json)
    except UserError as error:
        if os.environ.get("TOOLKIT_DEBUG"):
            raise
        return report(error, wants_json=wants_json)
    except KeyboardInterrupt:
        say("stopped", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`toolkit list | head`); leave the descriptor quiet for the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if getattr(error, "exit_code", None) == 130:
            say("stopped; saved, continue with --resume", err=True)
            return 130
        known = _known(error)
        if known is None or os.environ.get("TOOLKIT_DEBUG"):
            raise
        return report(known, wants_json=wants_json)


def report(error: UserError, *, wants_json: bool) -> int:
    """Prints every problem (as one JSON object on standard output when asked for) and returns the exit code."""
    for problem in error.problems:
        say(str(problem), err=True)
    if wants_json:
        errors = [problem.as_json() for problem in error.problems]
        print_json({"ok": False, "errors": errors, "warnings": []})
    return error.exit_code


def _usage_error(error: click.ClickException, arguments: Sequence[str]) -> ConfigError:
    """A mistake on the command line, with what to write instead."""
    message, meant = error.format_message(), ""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        message = f"{error.ctx.info_name} has no option {error.option_name}"
        meant = option_meant(error.option_name, error.ctx.command, arguments)
    return ConfigError(Problem(Place("command line"), message, meant))


def _known(error: Exception) -> UserError | None:
    """Errors of other libraries that have one known cause, in plain words."""
    text = str(error)
    if isinstance(error, OSError) and is_full(error):
        return cannot_write(Path(error.filename or "."), error)
    if "torchvision::nms does not exist" in text:
        message = "torch and torchvision do not fit one another (they come from different builds)"
        return UserError(
            Problem("install", message, "reinstall both together: pip install --force-reinstall torch torchvision")
        )
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in text
    ):
        remedy = "lower data.batch_size (and raise train.accumulate), use smaller crops or train.precision=bf16-mixed"
        return UserError(Problem("memory", text.split("\n")[0] or "there is not enough", remedy))
    return None


def main() -> None:
    """The entry point. What `run` lets through is a defect: told in one message, its traceback kept in a file."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    arguments = sys.argv[1:]
    try:
        code = run(arguments)
    except Exception as error:
        if os.environ.get("TOOLKIT_DEBUG"):
            raise
        code = report(defect(error), wants_json="--json" in arguments)
    sys.exit(code)
