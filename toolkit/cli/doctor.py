"""`toolkit doctor`."""

from __future__ import annotations

import platform
from typing import Any

import click

from toolkit.cli.options import json_option, print_json, say

_OF_DEVELOPERS = ("bench", "docs", "test")
"""Extras that nobody misses who does not change the package; `--json` has them all."""


@click.command("doctor", epilog="Example: toolkit doctor")
@click.option("--licences", is_flag=True, help="Only the licence of every package that the toolkit brings along.")
@json_option
def command(licences: bool, as_json: bool) -> int:
    """Versions, devices, threads, extras: what is here, what is missing, and the line that mends it.

    Nothing is installed, nothing is sent anywhere. Exit code 1 when something keeps the toolkit from working.
    """
    if licences:
        return _licences(as_json)
    from toolkit.errors import Problem
    from toolkit.jobs.installed import (
        extras,
        lacks,
        of_extra,
        package_problems,
        pip_line,
        python_problems,
        requirements,
        wanted_as,
    )
    from toolkit.version import __version__, package_version

    wanted = requirements()
    base = [one for one in wanted if of_extra(one, "")]
    problems, notes = [*python_problems(), *package_problems(base)], []
    facts = {"toolkit": __version__, "python": f"{platform.python_version()} on {platform.platform()}"}
    packages = {one.name: package_version(one.name) for one in base}
    asked = {name: [one for one in wanted if of_extra(one, name)] for name in extras()}
    missing = {name: [one for one, _ in lacks(ones)] for name, ones in asked.items()}
    try:
        from toolkit.jobs.machine_report import machine_report

        report = machine_report()
        facts |= report.facts
        problems += report.problems
        notes += report.notes
    except Exception as error:  # an installation that is broken in any way is what this verb is for
        message = (
            f"the toolkit cannot be loaded: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
        remedy = "reinstall it with all it needs: pip install --force-reinstall toolkit-dense"
        problems.append(Problem("install", message, "the lines above say what to mend" if problems else remedy))
    if as_json:
        print_json(
            {
                "ok": not problems,
                "facts": facts,
                "packages": packages,
                "extras": {name: {"missing": list(map(wanted_as, lacking))} for name, lacking in missing.items()},
                "problems": [problem.as_json() for problem in problems],
                "notes": [note.as_json() for note in notes],
            }
        )
        return 1 if problems else 0
    lines = {}
    for name, lacking in missing.items():
        in_part = f"lacks {len(lacking)} of {len(asked[name])} packages"
        if lacking:
            lines[name] = f"{in_part if len(lacking) < len(asked[name]) else 'not installed'}; {pip_line(lacking)}"
    _say(facts, packages, lines)
    whole = [name for name, lacking in missing.items() if not lacking]
    say(f"{'extras here':<13} {', '.join(whole) or 'none'}")
    for note in notes:
        say(f"{'note':<13} {note}")
    for problem in problems:
        say(f"{'problem':<13} {problem}")
    say("all is well" if not problems else f"{len(problems)} thing(s) to mend")
    return 1 if problems else 0


def _say(facts: dict[str, Any], packages: dict[str, str | None], missing: dict[str, str]) -> None:
    for name, value in facts.items():
        say(f"{name:<13} {value}")
    say(f"{'packages':<13} {', '.join(f'{name} {version}' for name, version in packages.items())}")
    for name, line in missing.items():
        if name not in _OF_DEVELOPERS:
            say(f"{'extra':<13} {name}: {line}")


def _licences(as_json: bool) -> int:
    from toolkit.jobs.installed import DISTRIBUTION, extras
    from toolkit.jobs.licences import licences

    rows = licences()
    base = {row.package for row in rows}
    more = {
        name: [row for row in licences(DISTRIBUTION, name) if row.package not in base and row.version]
        for name in extras()
    }
    if as_json:
        extra = {name: [row._asdict() for row in found] for name, found in more.items()}
        print_json({"licences": [row._asdict() for row in rows], "extras": extra})
        return 0
    for row in rows:
        say(f"{row.package:<28} {row.version:<14} {row.kind:<14} {row.licence}{_inside(row.carries)}")
    kinds = sorted({row.kind for row in rows})
    say(", ".join(f"{sum(row.kind == kind for row in rows)} {kind}" for kind in kinds))
    for name, found in more.items():
        for row in found:
            if row.kind not in ("permissive", "vendor") or row.carries:
                said = f"{row.package} {row.version} {row.kind}: {row.licence}{_inside(row.carries)}"
                say(f"{'extra':<13} {name}: {said}")
    say("read from what each package states, and from the names of the libraries in it; weights: toolkit weights list")
    return 0


def _inside(carries: tuple[str, ...]) -> str:
    return f"; carries {'; '.join(carries)}" if carries else ""
