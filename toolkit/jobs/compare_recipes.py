"""Is one recipe of training better than another? Several trainings a side, told apart by their configs or by pattern."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import ConfigError, DataError, Problem, listed
from toolkit.jobs.compare import read_alike
from toolkit.jobs.record_folders import filled_in, names_of, run_of
from toolkit.jobs.run_configs import differing, flat_config, recipe_of
from toolkit.results.comparison import Comparison, Difference, differences
from toolkit.results.recipes import FEWEST_SEEDS, Mean, recipe_differences


def compare_recipes(paths: Sequence[str | Path], split: str | None = None) -> Comparison:
    """One recipe against another by the means of their trainings on the same images.

    Raises UserError for fewer than three trainings a side, and as `compare_runs` does.

    Args:
        paths: run folders or folders of records of both recipes, in any order: those whose configs differ in the seed and
            the name alone are one recipe. Or two patterns ("runs/a*" "runs/b*"), one a recipe.
        split: of the runs; None takes val, or the only one that a run has.
    """
    sides = _sides(paths)
    few = [f"{len(side)} with {listed(names_of(side), 3)}" for side in sides if len(side) < FEWEST_SEEDS]
    if few:
        message = f"wanted {FEWEST_SEEDS} trainings of each recipe or more, found {' and '.join(few)}"
        raise ConfigError(
            Problem("--seeds", message, "train with other seeds (seed=1 ...), or compare without --seeds")
        )
    alike = read_alike([path for side in sides for path in side], split)
    count, numbers = len(sides[0]), alike.numbers()
    parts = list(range(count)), list(range(count, len(numbers)))
    found = differences([Mean(numbers[:count]), Mean(numbers[count:])], metrics=[alike.metric])
    said = (
        f"measured: the seeds, {count} trainings against {len(parts[1])}, on one sample of {len(alike.records[0])} images: "
        f"what other trainings of these recipes would give on these images{_of_images(found, alike.facts()['percent'])}"
    )
    return Comparison(
        measured="seeds",
        said=said,
        names=tuple(_recipe_name([alike.names[place] for place in part]) for part in parts),
        metric=alike.metric,
        differences=recipe_differences(numbers[:count], numbers[count:]),
        within=None,
        images=alike.changed(parts),
        facts={**alike.facts(), "sides": [[alike.names[place] for place in part] for part in parts]},
        notes=alike.notes,
    )


def _of_images(found: Sequence[Difference], percent: bool) -> str:
    """What the same trainings say of other images."""
    told = next((one for one in found if one.low is not None and one.high is not None), None)
    if told is None:
        why = found[0].why.removeprefix("no interval: ") if found else "nothing to measure"
        return f". Of other images nothing is said ({why})"
    low, high = (f"{100 * end:+.2f}" if percent else f"{end:+.4g}" for end in (told.low, told.high) if end is not None)
    return f". Of these very trainings, {told.metric} on other images would differ by {low} to {high}"


def _sides(paths: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """The trainings of the first recipe and of the second. Raises ConfigError when there are not two."""
    if len(paths) == 2:
        first, second = (filled_in([path]) for path in paths)
        if len(first) > 1 or len(second) > 1:
            return first, second
    runs = filled_in(paths)
    recipes: dict[str, list[Path]] = {}
    unknown: list[Problem] = []
    for run in runs:
        try:
            recipes.setdefault(recipe_of(flat_config(run_of(run))), []).append(run)
        except DataError as error:  # noqa: PERF203 - every run is looked at
            unknown += error.problems
    advice = "give two patterns in quotes, one a recipe: toolkit compare --seeds 'runs/a*' 'runs/b*'"
    if unknown:
        raise ConfigError([problem.advising(advice) for problem in unknown])
    if len(recipes) != 2:
        keys = differing([flat_config(run_of(side[0])) for side in recipes.values()], ("name", "seed"))
        what = f" (they differ in {listed(keys)})" if len(recipes) > 1 else ""
        told = "; ".join(listed(names_of(side), 3) for side in recipes.values())
        message = f"wanted runs of two recipes, found {len(recipes)} by their configs{what}: {told}"
        raise ConfigError(Problem("--seeds", message, advice))
    first, second = recipes.values()
    return first, second


def _recipe_name(names: Sequence[str]) -> str:
    """What the names of some runs begin with, or else the names.

    >>> _recipe_name(["unet_seed0", "unet_seed1"]), _recipe_name(["a", "b", "c"])
    ('unet_seed*', 'a, b, c')
    """
    shared = names[0]
    for name in names[1:]:
        while not name.startswith(shared):
            shared = shared[:-1]
    return f"{shared}*" if shared else listed(names, 3)
