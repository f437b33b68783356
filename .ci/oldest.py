"""Prints the oldest versions that setup.cfg allows, as constraints for pip: `make test-oldest` installs these.

    python .ci/oldest.py > oldest.txt
    pip install -c oldest.txt -e '.[test]'

What the package itself asks for is taken at its lower bound; the tools of the tests may be new.
"""

from __future__ import annotations

import configparser
from pathlib import Path

from packaging.requirements import Requirement


def oldest(setup: str) -> list[str]:
    r"""`name==version` for every base requirement with a lower or an exact bound.

    >>> oldest("[options]\ninstall_requires =\n    numpy >= 2.0\n    albumentations == 2.0.8\n")
    ['numpy==2.0', 'albumentations==2.0.8']
    """
    config = configparser.ConfigParser()
    config.read_string(setup)
    wanted = [Requirement(line) for line in config["options"]["install_requires"].split("\n") if line.strip()]
    bounds = [(one.name, bound) for one in wanted for bound in one.specifier if bound.operator in (">=", "==", "~=")]
    return [f"{name}=={bound.version}" for name, bound in bounds]


if __name__ == "__main__":
    print("\n".join(oldest(Path(__file__).parent.parent.joinpath("setup.cfg").read_text(encoding="utf-8"))))
