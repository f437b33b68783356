"""`toolkit compare`: what is better, what is within noise, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_runs import other, record, write_run

from toolkit.cli.main import run
from toolkit.jobs.compare import compare_runs
from toolkit.results.comparison import Comparison


def runs_of(folder: Path, *skills: float, **config: object) -> list[str]:
    return [str(write_run(folder / f"run{n}", record(skill, n), {"seed": n})) for n, skill in enumerate(skills)]


def test_a_better_run_is_told_with_its_interval_and_the_images(tmp_path, capsys) -> None:
    runs = runs_of(tmp_path, 0.6, 0.8)
    assert run(["compare", *runs, "--json", "--out", str(tmp_path / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    (found,) = [one for one in told["differences"] if one["metric"] == "mIoU"]
    assert found["verdict"] == "better"
    assert found["low"] < found["b"] - found["a"] < found["high"]
    assert found["difference"] == pytest.approx(found["b"] - found["a"])
    assert {one["verdict"] for one in told["differences"]} <= {"better", "worse", "within noise"}
    assert told["measured"] == "images"
    changes = [abs(image["difference"]) for image in told["images"]]
    assert len(changes) == 20
    assert changes == sorted(changes, reverse=True)
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["differences"] == told["differences"]
    assert told["page"] == str(tmp_path / "out" / "compare.html")
    assert "run1" in (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "run1 against run0" in page
    assert told["page"].endswith("compare.html")
    assert run(["compare", *reversed(runs)]) == 0
    out = capsys.readouterr().out
    assert "mIoU: run0 is worse than run1." in out
    assert "the sample of images (20 images)" in out


def test_equal_skill_is_within_noise_and_three_runs_are_held_against_the_first(tmp_path, capsys) -> None:
    comparison = compare_runs(runs_of(tmp_path, 0.7, 0.7, 0.9))
    assert comparison.of("mIoU", 1).verdict == "within noise"
    assert comparison.of("mIoU", 2).verdict == "better"
    assert [one.p_adjusted >= one.p for one in comparison.differences]


def test_a_record_beside_its_run_is_the_same_thing(tmp_path) -> None:
    first, second = runs_of(tmp_path, 0.6, 0.8)
    whole = compare_runs([first, second])
    parts = compare_runs([f"{first}/evaluation/val", f"{second}/best.safetensors".replace("/best.safetensors", "")])
    assert whole.differences == parts.differences


def test_classes_in_another_order_are_joined_by_name(tmp_path) -> None:
    first = write_run(tmp_path / "a", record(0.6))
    same = write_run(tmp_path / "b", record(0.8))
    turned = write_run(tmp_path / "c", record(0.8, classes=("car", "sky", "road")))
    comparison = compare_runs([first, turned])
    assert {one.metric: one.b for one in comparison.differences} == pytest.approx(
        {one.metric: one.b for one in compare_runs([first, same]).differences}
    )
    assert [note for note in comparison.notes if "joined by name" in note]


OTHERS = {
    "images": (
        record(0.8, names=[f"{number}.png" for number in range(1, 21)]),
        ["lacks 1 of its 20 images: 0.png", "20.png"],
    ),
    "fewer": (record(0.8, images=18), ["lacks 2 of its 20 images: 18.png, 19.png"]),
    "split": (other(record(0.8), split="test"), ["is of the split 'test', a of 'val'"]),
    "classes": (other(record(0.8), classes=["sky", "road", "bus"]), ["it lacks car", "a lacks bus"]),
    "excluded": (other(record(0.8), excluded=["sky"]), ["leaves classes out of its means (sky)"]),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_the_same_is_refused_by_name(kind, tmp_path, capsys) -> None:
    made, words = OTHERS[kind]
    first, second = write_run(tmp_path / "a", record(0.6)), write_run(tmp_path / "b", made)
    folders = [
        str(path / "evaluation" / ("test" if kind == "split" and path == second else "val")) for path in (first, second)
    ]
    assert run(["compare", *folders]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert not [word for word in words if word not in said], said


def test_other_annotations_of_the_same_images_are_refused(tmp_path, capsys) -> None:
    made = record(0.8)
    cells = made.arrays["confusion_cells"].copy()
    cells[0] = (cells[0] + 4) % 12  # a pixel of another true class
    made.arrays["confusion_cells"] = cells
    first, second = write_run(tmp_path / "a", record(0.6)), write_run(tmp_path / "b", made)
    assert run(["compare", str(first), str(second)]) == 1
    assert "other annotations than a, of 1 images: 0.png" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_was_not_evaluated_says_how_to(tmp_path, capsys) -> None:
    first = write_run(tmp_path / "a", record(0.6))
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "metrics.jsonl").write_text("")
    assert run(["compare", str(first), str(bare), str(tmp_path / "nothing")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"toolkit evaluate {bare}" in said
    assert "no run folder or record" in said


def test_one_clip_gives_no_verdict_but_what_it_allows(tmp_path, capsys) -> None:
    names = [f"clip_{number:04}.png" for number in range(0, 200, 10)]
    runs = []
    for place, skill in enumerate((0.6, 0.9)):
        made = record(skill, place, names=names)
        object.__setattr__(made, "groups", ("clip",) * 20)
        runs.append(str(write_run(tmp_path / f"run{place}", made)))
    assert run(["compare", *runs, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (found,) = [one for one in told["differences"] if one["metric"] == "mIoU"]
    assert (found["verdict"], found["why"]) == ("within noise", "no interval: 1 independent group")
    (inside,) = [one for one in told["within"]["differences"] if one["metric"] == "mIoU"]
    assert inside["verdict"] == "better"
    assert told["within"]["blocks"] == 7
    assert run(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert "nothing can be said of other images" in out
    assert "7 blocks of one second" in out


def seeds(folder: Path, *skills: float) -> list[str]:
    """Three trainings of each skill, whose configs differ in a rate."""
    return [
        str(write_run(folder / f"{name}{n}", record(skill, n), {"seed": n, "train": {"lr": skill}}))
        for name, skill in zip("ab", skills, strict=True)
        for n in range(3)
    ]


def compared(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert run(["compare", "--seeds", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_recipes_are_told_apart_by_their_configs_or_by_pattern(tmp_path, capsys) -> None:
    runs = seeds(tmp_path, 0.6, 0.8)
    told = compared(runs, capsys)
    assert told["measured"] == "seeds"
    assert told["sides"] == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]
    (found,) = [one for one in told["differences"] if one["metric"] == "mIoU"]
    assert (found["verdict"], found["groups"]) == ("better", 6)
    assert found["low"] < found["difference"] < found["high"]
    by_pattern = compared([f"{tmp_path}/a*", f"{tmp_path}/b*"], capsys)
    assert by_pattern["differences"] == told["differences"]
    assert run(["compare", "--seeds", *runs]) == 0
    out = capsys.readouterr().out
    assert "the seeds, 3 trainings against 3" in out
    assert "on other images" in out


def test_fewer_than_three_trainings_say_nothing_of_a_recipe(tmp_path, capsys) -> None:
    runs = seeds(tmp_path, 0.6, 0.8)
    assert run(["compare", "--seeds", *runs[:5]]) == 2
    assert "wanted 3 trainings of each recipe or more, found 2 with b0, b1" in " ".join(capsys.readouterr().err.split())
    assert run(["compare", "--seeds", *runs[:3]]) == 2
    assert "found 1 by their configs" in " ".join(capsys.readouterr().err.split())


def test_the_means_of_recipes_have_welchs_interval(tmp_path) -> None:
    from scipy import stats

    from toolkit.jobs.compare_recipes import compare_recipes

    comparison: Comparison = compare_recipes(seeds(tmp_path, 0.6, 0.8))
    sides = [[record(skill, n).numbers["metrics"]["mIoU"] for n in range(3)] for skill in (0.6, 0.8)]
    expected = stats.ttest_ind(sides[1], sides[0], equal_var=False)
    found = comparison.of("mIoU")
    assert found.p == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
