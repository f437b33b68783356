"""albumentations' refusals in plain words, at the argument."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.data.transforms.pipeline import transform_class
from toolkit.errors import ConfigError, Problem


def refused(name: str, **arguments: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        transform_class(name)(**arguments)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "arguments", "where", "words"),
    [
        ("HorizontalFlip", {"p": 2.0}, "p", "wanted at most 1.0, found 2.0"),
        ("ElasticTransform", {"alpha": -1.0}, "alpha", "wanted at least 0.0, found -1.0"),
        (
            "ImageCompression",
            {"quality_range": (90, 200)},
            "quality_range",
            "wanted all values >= 1 and <= 100, found [90, 200]",
        ),
        ("CoarseDropout", {"num_holes_range": (3, 1)}, "num_holes_range", "a first value that is less than the second"),
        ("Affine", {"scale": "x"}, "scale", "wanted a list or a number or a mapping, found 'x'"),
        (
            "Resize",
            {"height": 3, "width": 3, "interpolation": 99},
            "interpolation",
            "wanted 0, 6, 1, 2, 3, 4 or 5, found 99",
        ),
        ("SmallestMaxSize", {}, "", "either max_size or max_size_hw must be specified"),
    ],
)
def test_words(name: str, arguments: dict[str, Any], where: str, words: str) -> None:
    (problem,) = refused(name, **arguments)
    assert problem.where == where
    assert words in problem.message
    assert name in problem.message
    assert "Schema" not in str(problem)
    assert "type=" not in str(problem)


def test_every_argument_is_named() -> None:
    assert [problem.where for problem in refused("RandomCrop", height=-1, width=0)] == ["height", "width"]
