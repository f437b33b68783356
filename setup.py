"""What setup.cfg cannot say: the configs stand at the top level of the repository and inside the package of a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies configs/ into the package, where `toolkit new` finds them; an editable install reads them where they are."""

    def run(self) -> None:
        """See setuptools."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("configs", Path(self.build_lib) / "toolkit" / "configs", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
