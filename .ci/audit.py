"""`python .ci/audit.py FOLDER`: known weaknesses of the packages installed in a folder, asked of pip-audit's advisory service.

Exit code 0: all that could be asked were, and none is known to be weak; 1: some are; 2: the service did not answer, so that
nothing is known. A package that the service does not know (this project itself, say) is named and counts for nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

_OWN = "toolkit-dense"


def told(dependencies: Iterable[Mapping[str, Any]]) -> tuple[list[str], int]:
    """Lines for people, and the exit code.

    Args:
        dependencies: of pip-audit's JSON: `name`, and `version` with `vulns`, or `skip_reason`.
    """
    rows = [one for one in dependencies if one["name"].lower() != _OWN]
    asked = [one for one in rows if "skip_reason" not in one]
    unknown = [one["name"] for one in rows if "skip_reason" in one]
    weak = [(one, found) for one in asked for found in one["vulns"]]
    lines = [
        f"{one['name']} {one['version']}: {found['id']}; mended in {', '.join(found['fix_versions']) or 'no version yet'}"
        for one, found in weak
    ]
    if unknown and not asked:
        reason = next(one["skip_reason"] for one in rows if "skip_reason" in one)
        lines.append(f"the advisory service told of none of {len(unknown)} packages, so nothing was audited: {reason}")
        return lines, 2
    if unknown:
        lines.append(f"not audited, since the service does not know them: {', '.join(unknown)}")
    lines.append(f"{len(asked)} packages audited, {len({one['name'] for one, _ in weak})} with known weaknesses")
    return lines, 1 if weak else 0


def main(folder: str) -> int:
    """Asks, tells, and returns the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--path", folder, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        print(f"the advisory service could not be asked, so nothing was audited: {last[0]}")
        return 2
    lines, code = told(dependencies)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
