"""Pictures to draw samples from: label maps that an evaluator has counted, whose numbers over all are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from toolkit.engine.evaluate import counted_rows
from toolkit.evaluators.semantic import SemanticEvaluator
from toolkit.results.record import Record
from toolkit.samples import LabelMap, Truth

NAMES = ["sky", "road", "car"]
SIZE = (12, 16)
Skill = Callable[[np.random.Generator, int], np.ndarray]


def label_maps(rng: np.random.Generator, images: int) -> list[np.ndarray]:
    """Truths: classes take uneven shares of a picture, other ones in each picture; one is rare."""
    shares = rng.dirichlet([3.0, 2.0, 0.7], images)
    return [rng.choice(3, SIZE, p=share).astype(np.uint8) for share in shares]


def answers(rng: np.random.Generator, truths: Sequence[np.ndarray], skill: np.ndarray) -> list[np.ndarray]:
    """Predictions: a pixel of class k is right with the skill (N, K) of its picture, otherwise any class."""
    found = []
    for truth, right in zip(truths, skill, strict=True):
        hit = rng.random(SIZE) < right[truth]
        found.append(np.where(hit, truth, rng.integers(0, 3, SIZE)).astype(np.uint8))
    return found


def record(truths: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> Record:
    """What the evaluator makes of them: the record that an evaluation writes."""
    told = [Truth(f"{number:05}.png", number, SIZE, truth) for number, truth in enumerate(truths)]
    maps = [LabelMap(torch.from_numpy(prediction)) for prediction in predictions]
    return Record.of(counted_rows([SemanticEvaluator(NAMES)], maps, told), {"classes": NAMES})


def skills(rng: np.random.Generator, images: int, mean: float = 0.75, strength: float = 8.0) -> np.ndarray:
    """(N, K) how well each class of each picture is known; `strength` is how alike the pictures are."""
    means = np.clip(mean + np.array([0.1, 0.0, -0.15]), 0.05, 0.97)
    return rng.beta(strength * means, strength * (1 - means), (images, 3))
