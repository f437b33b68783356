"""Loaders: samples read, augmented and batched in worker processes, always the same whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from toolkit.contracts import Dataset, Transform
from toolkit.data.loading.batches import EvaluationBatches, StepBatches
from toolkit.data.loading.picture_reader import NothingKept, Shelf, read_sample
from toolkit.data.loading.sampling import Draws, Key
from toolkit.data.loading.workers import received, signals_held, start_worker, unwarned
from toolkit.data.seeds import sample_seed
from toolkit.data.transforms.pipeline import Pipeline, refuse_for_evaluation
from toolkit.errors import DataError, Problem, UserError
from toolkit.samples import Batch, Boxes, Sample, Truth, collate

Item = tuple[Sample, Truth | None]


class SeededDataset(TorchDataset[Item | UserError]):
    """(epoch, index) -> the augmented sample, and its truth before augmentation when `with_truth`.

    A UserError is returned instead of raised: torch would turn an error raised in a worker into a traceback text.

    Args:
        dataset: the samples as they are read.
        pipeline: transforms that augment every sample.
        seed: the run's seed, which every sample's is made from.
        with_truth: whether the annotation before augmentation comes along.
        shelf: keeps decoded files; None keeps none.
    """

    def __init__(
        self, dataset: Dataset, pipeline: Pipeline, seed: int, with_truth: bool = False, shelf: Shelf | None = None
    ) -> None:
        self.dataset = dataset
        self.pipeline = pipeline
        self.seed = seed
        self.with_truth = with_truth
        self.shelf = shelf if shelf is not None else NothingKept()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Item | UserError:
        epoch, index = key
        try:
            seed = sample_seed(self.seed, epoch, index)
            halvings = partial(self.pipeline.halvings, seed=seed) if self.pipeline.asks_for_halvings else None
            sample = read_sample(self.dataset, index, self.shelf, halvings)
            truth = Truth.of(sample) if self.with_truth else None
            return self.pipeline(sample, seed, self.dataset), truth
        except UserError as error:
            return error


class _Parcel(NamedTuple):
    """What crosses from a worker: a batch without its boxes, the boxes as arrays, or the error.

    Every tensor that crosses costs a file descriptor, and a batch has five small ones an image in its boxes: arrays
    go through the pipe instead.
    """

    batch: Batch | None
    boxes: tuple[Boxes, ...] | None
    error: UserError | None


def _pack(items: Sequence[Item | UserError]) -> _Parcel:
    errors = [item for item in items if isinstance(item, UserError)]
    if errors:
        return _Parcel(None, None, errors[0])
    pairs = [item for item in items if not isinstance(item, UserError)]
    samples = [sample for sample, _ in pairs]
    try:
        batch = collate(samples, [truth for _, truth in pairs if truth is not None])
    except ValueError as error:
        return _Parcel(None, None, DataError(Problem("", str(error))))
    if batch.boxes is None:
        return _Parcel(batch, None, None)
    return _Parcel(batch._replace(boxes=None), tuple(s.boxes for s in samples if s.boxes is not None), None)


def _unpack(parcel: _Parcel) -> Batch:
    if parcel.error is not None:
        raise parcel.error
    assert parcel.batch is not None  # a parcel holds one of the two
    if parcel.boxes is None:
        return parcel.batch
    boxes = tuple(Boxes(*map(torch.from_numpy, tuple(one))) for one in parcel.boxes)  # type: ignore[arg-type]
    return parcel.batch._replace(boxes=boxes)


class Loader:
    """Iterates over batches. Raises the UserError of the sample that could not be read, as it was raised.

    Args:
        dataset: the samples behind the batches.
        batches: the sampler, which knows where it starts.
        loader: PyTorch's loader over the sampler's batches.
    """

    def __init__(self, dataset: Dataset, batches: StepBatches | EvaluationBatches, loader: DataLoader[Any]) -> None:
        self.dataset = dataset
        self.batches = batches
        self._loader = loader

    def __iter__(self) -> Iterator[Batch]:
        with signals_held(), unwarned():  # workers start here
            parcels = iter(self._loader)
        return map(_unpack, received(parcels))

    def __len__(self) -> int:
        """Number of batches; TypeError for an endless loader."""
        return len(self.batches)  # type: ignore[arg-type]


def train_loader(
    dataset: Dataset,
    transforms: Sequence[Transform],
    batch_size: int,
    seed: int,
    start: int = 0,
    stop: int | None = None,
    workers: int = 0,
    shuffle: bool = True,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
    groups: np.ndarray | None = None,
    draws: Draws | None = None,
    shelf: Shelf | None = None,
) -> Loader:
    """An endless loader (or up to batch `stop`) that begins at batch number `start`.

    batch_size counts the samples of all processes together; see `StepBatches`. With gradient accumulation over n batches
    a step, step s begins at batch s * n.

    Args:
        dataset: the data set that is trained on.
        transforms: transforms that augment every sample, in their order.
        batch_size: samples of all processes together; see `StepBatches`.
        seed: the run's seed, for order and augmentation.
        start: number of the first batch; with accumulation over n batches a step, step s begins at batch s * n.
        stop: number of the batch before which it ends; None goes on for ever.
        workers: number of loader processes; 0 reads in this one. The batches do not depend on it.
        shuffle: whether epochs are shuffled, or in the data set's order.
        pin_memory: whether batches are put where a GPU fetches them faster.
        rank: number of this process, from 0.
        world_size: number of processes that share the batches.
        groups: (N,) integers; batches are of one group each where that can be.
        draws: how often which sample comes, see `sampling.py`; None means each once an epoch.
        shelf: keeps decoded files; None keeps none.
    """
    batches = StepBatches(len(dataset), batch_size, seed, start, stop, shuffle, rank, world_size, groups, draws)
    seeded = SeededDataset(dataset, Pipeline(transforms), seed, shelf=shelf)
    return Loader(dataset, batches, _torch_loader(seeded, batches, workers, pin_memory))


def eval_loader(
    dataset: Dataset,
    transforms: Sequence[Transform] = (),
    batch_size: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
    shelf: Shelf | None = None,
) -> Loader:
    """Every sample once, in order, with its truth in original pixels in `Batch.truths`.

    batch_size counts the samples of this process. Raises ConfigError for transforms that are random, or move pixels
    otherwise than by scaling the whole image.

    Args:
        dataset: the data that is measured.
        transforms: transforms without randomness that leave pixels where they are, or scale the whole image.
        batch_size: number of samples of a batch of this process.
        workers: number of loader processes; 0 reads in this one.
        pin_memory: whether batches are put where a GPU fetches them faster.
        rank: number of this process, from 0.
        world_size: number of processes that share the samples.
        shelf: keeps decoded files; None keeps none.
    """
    refuse_for_evaluation(transforms)
    batches = EvaluationBatches(len(dataset), batch_size, rank, world_size)
    seeded = SeededDataset(dataset, Pipeline(transforms), 0, with_truth=True, shelf=shelf)
    return Loader(dataset, batches, _torch_loader(seeded, batches, workers, pin_memory))


def _torch_loader(seeded: SeededDataset, batches: Any, workers: int, pin_memory: bool) -> DataLoader[Any]:
    with unwarned():
        return DataLoader(
            seeded,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=_pack,
            pin_memory=pin_memory,
            worker_init_fn=start_worker if workers else None,
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(0),  # else each iterator draws from, and so moves, the global state
        )
