"""What comes along with the package: licences, the network that nobody needs, and what a wheel holds."""

from __future__ import annotations

import configparser
import json
import os
import runpy
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fresh_process import run_fresh
from packaging.requirements import Requirement
from tiny_run import write_tiny

from toolkit.cli.main import run
from toolkit.jobs.licences import carried, kind_of, licence_of, licences

REPOSITORY = Path(__file__).resolve().parent.parent
WEAK = {"certifi", "tqdm"}
"""MPL-2.0: asks for nothing from those who only use its files; come with huggingface-hub and requests, by way of timm."""


def wanted_by(section: str, key: str) -> list[Requirement]:
    """Requirements as setup.cfg has them: an editable install may know those of yesterday."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    return [Requirement(line) for line in config[section][key].split("\n") if line.strip()]


def test_every_base_dependency_is_permissive() -> None:
    """In what it states, and in what its wheel carries."""
    base = wanted_by("options", "install_requires")
    rows = {row.package: row for one in base for row in licences(one.name)}.values()
    assert {"torch", "numpy", "timm", "albumentations"} <= {row.package for row in rows}
    refused = [row for row in rows if row.kind not in ("permissive", "vendor") and row.package not in WEAK]
    assert not refused
    assert all(row.package.startswith(("nvidia-", "cuda-")) for row in rows if row.kind == "vendor")
    inside = {row.package: row.carries for row in rows if row.carries}
    assert not [one for found in inside.values() for one in found if " GPL" in one]
    assert inside.keys() <= {"opencv-python-headless"}, "what a wheel carries is told on docs/howto/install.md"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("GNU Affero General Public License v3", "copyleft"),
        ("LGPL-3.0-or-later", "copyleft"),
        ("MIT AND GPL-2.0-only", "copyleft"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "weak copyleft"),
        ("Apache Software License", "permissive"),
        ("MIT-CMU", "permissive"),
        ("", "unknown"),
    ],
)
def test_kinds_of_licences(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_libraries_inside_of_a_wheel_are_seen() -> None:
    """The wheels of PyAV and pillow-heif are stated to be BSD, and hold an encoder under the GPL."""
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed (extra heic)")
    assert "x265, GPL-2.0-or-later" in licence_of("pillow-heif").carries
    assert carried(["scalar.py", "libpng16-529cb57a.so.16", "libgfortran.so.5", "libgeos-23da760b.so.1.20.5"]) == (
        "geos, LGPL-2.1-or-later",
    )


def test_an_audit_that_nobody_answered_is_no_good_news() -> None:
    audit = runpy.run_path(str(REPOSITORY / ".ci" / "audit.py"))["told"]
    weak = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
    sound, unknown = {"name": "b", "version": "2", "vulns": []}, {"name": "c", "skip_reason": "not found"}
    own = {"name": "toolkit-dense", "skip_reason": "not found"}
    assert audit([own, unknown, {**unknown, "name": "d"}]) == (
        ["the advisory service told of none of 2 packages, so nothing was audited: not found"], 2,
    )  # fmt: skip
    assert audit([own, sound]) == (["1 packages audited, 0 with known weaknesses"], 0)
    lines, code = audit([weak, sound, unknown])
    assert code == 1
    assert lines[0] == "a 1: CVE-1; mended in 1.1"
    assert "not audited, since the service does not know them: c" in lines


def test_the_network_is_never_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check, training, evaluation, prediction and its page, with every way to another machine closed."""
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    config, run_folder = write_tiny(tmp_path, tmp_path / "data"), tmp_path / "run"
    assert run(["check", str(config)]) == 0
    assert run(["train", str(config), "train.steps=2", "data.workers=0", "--run", str(run_folder)]) == 0
    assert run(["evaluate", str(run_folder)]) == 0
    pictures = str(tmp_path / "data" / "images" / "val")
    assert run(["predict", str(run_folder), pictures, "--out", str(tmp_path / "out")]) == 0
    assert asked == []


@pytest.mark.slow
def test_no_import_asks_for_the_network() -> None:
    code = "import socket\ndef refuse(*a, **_): raise SystemExit('asked')\nsocket.getaddrinfo = socket.socket.connect = refuse\n"
    names = "toolkit.jobs.train, toolkit.jobs.evaluate, toolkit.jobs.predict, toolkit.jobs.init, toolkit.jobs.weights"
    assert run_fresh(f"{code}import {names}\nprint('quiet')").strip() == "quiet"


def test_every_dependency_has_a_lower_bound() -> None:
    """`make test-oldest` installs the lowest versions that are allowed: without a bound that is some first attempt."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    wanted = [Requirement(line) for text in texts for line in text.split("\n") if line.strip()]
    bounded = {">=", "==", "~="}
    assert not [str(one) for one in wanted if not bounded & {bound.operator for bound in one.specifier}]


def data_files() -> set[str]:
    """Files of the package that are no Python, as git keeps them."""
    kept = subprocess.run(["git", "ls-files", "toolkit", "configs"], cwd=REPOSITORY, capture_output=True, text=True)
    if kept.returncode:
        pytest.skip("not a git checkout")
    names = (name for name in kept.stdout.splitlines() if not name.endswith(".py"))
    return {name if name.startswith("toolkit/") else f"toolkit/{name}" for name in names}


@pytest.mark.slow
def test_a_wheel_holds_every_file_and_works_in_an_empty_folder(tmp_path: Path) -> None:
    source, target, empty = tmp_path / "source", tmp_path / "site", tmp_path / "empty"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(source)], check=True)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        assert data_files() <= set(files.namelist())
        assert not [name for name in files.namelist() if "__pycache__" in name]
        files.extractall(target)
    empty.mkdir()
    environment = os.environ | {"PYTHONPATH": str(target)}

    def toolkit(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "toolkit", *arguments]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=600)

    where = subprocess.run(
        [sys.executable, "-c", "import toolkit; print(toolkit.__file__)"],
        cwd=empty, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(target)), "the wheel itself is tried, not the checkout"
    assert toolkit("new", "tiny/unet_shapes", "--out", "mine.yaml").returncode == 0
    assert toolkit("check", "mine.yaml").returncode == 0
    assert toolkit("list", "configs", "--json").returncode == 0
    assert json.loads(toolkit("schema").stdout)["$schema"]
    trained = toolkit("train", "mine.yaml", "train.steps=2", "--run", "run")
    assert trained.returncode == 0, trained.stderr
    assert (empty / "run" / "evaluation").is_dir()
