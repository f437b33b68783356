"""Loading training batches with the usual augmentation, against albumentations and torchvision: one process, one thread.

    python -m benchmarks --only camvid-loader --only large-loader

Pictures and masks of a folder become batches of four (uint8): decoded, scaled, cropped, mirrored, colours jittered. Every
way reads the same files, draws from the same ranges and gives batches of the same shapes. The pictures are made up, with
about the bytes a pixel of photographs. albumentations decodes with OpenCV, torchvision with its own `decode_jpeg`.
"toolkit, cached" is the same with `data.cache: memory`, after the round that fills it: no peer has such a thing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

from benchmarks.rows import OURS, Goal, Measurements, Row, Way, Work, from_package

BATCH = 4
PICTURES = "pictures/a"  # a folder a class, for the data set without masks
COLORS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}


class Task(NamedTuple):
    """What a row loads.

    Attributes:
        stored: (height, width) of the files.
        size: (height, width) of the batches.
        scale: smallest and largest factor of the stored size.
        count: files a round.
        masks: whether label maps come with the pictures.
    """

    stored: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]
    count: int
    masks: bool = True


CAMVID = Task((360, 480), (360, 480), (0.5, 2.0), 32)
LARGE = Task((1024, 2048), (512, 1024), (0.25, 1.0), 8)


def rows() -> list[Row]:
    goals = (Goal("albumentations", least=2.2), Goal("torchvision v2", least=2.2))
    large = (Goal("albumentations", least=2.5), Goal("torchvision v2", least=2.5))
    return [
        Row("camvid-loader", "JPEG and mask 360x480, scale 0.5-2", lambda work: load(work, CAMVID), goals, grows=True),
        Row("large-loader", "JPEG 1024x2048 -> 512x1024, scale 0.25-1",
            lambda work: load(work, LARGE._replace(masks=False)), large),
        Row("large-loader-masks", "the same with a PNG mask each", lambda work: load(work, LARGE)),
    ]  # fmt: skip


def load(work: Work, task: Task) -> Measurements:
    task = task._replace(count=4 if work.toy else task.count * work.scale)
    write_files(work.folder, task)
    ways: dict[str, Any] = {OURS: ours(work.folder, task)}
    ways[f"{OURS}, cached"] = ours(work.folder, task, cached=True)
    ways["albumentations"] = from_package("albumentations", lambda: albumentations_way(work.folder, task))
    ways["torchvision v2"] = from_package("torchvision", lambda: torchvision_way(work.folder, task))
    return work.in_turn(ways, same=lambda returned: check_shapes(returned, task))


def check_shapes(returned: dict[str, Any], task: Task) -> None:
    for name, (images, masks) in returned.items():
        assert images == (BATCH, 3, *task.size), f"{name}: {images}"
        assert masks == ((BATCH, *task.size) if task.masks else None), f"{name}: {masks}"


def write_files(folder: Path, task: Task) -> None:
    """Smooth light, edges and grain, and masks of blobs; as many bytes as CamVid's files at quality 93."""
    for name in (PICTURES, "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(task.count):
        random = np.random.default_rng(number)
        height, width = task.stored
        light = random.integers(0, 256, (24, 32, 3)).astype(np.float32)
        picture = cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC) + random.normal(
            0, 5, (height, width, 1)
        )
        pixels = np.clip(picture, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / PICTURES / f"{number:03}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 93])
        blobs = cv2.resize(light[:8, :10, 0], (width, height), interpolation=cv2.INTER_LINEAR)
        Image.fromarray(np.clip(blobs / 24, 0, 10).astype(np.uint8)).save(
            folder / "masks" / f"{number:03}.png", optimize=True
        )


def run(batches: Iterator[Any]) -> tuple[Any, Any]:
    """Goes through the batches; the shapes of the last one."""
    ((images, masks),) = deque(batches, maxlen=1)  # one at a time: a list of all would grow with the epoch
    assert images.dtype == torch.uint8
    return tuple(images.shape), None if masks is None else tuple(masks.shape)


def ours(folder: Path, task: Task, *, cached: bool = False) -> Way:
    from toolkit.data.datasets.image_folder import ImageFolder
    from toolkit.data.datasets.image_masks import ImageMasks
    from toolkit.data.loading.loader import train_loader
    from toolkit.data.loading.pixel_cache import PixelCache, places_for
    from toolkit.data.transforms.warp import Warp

    classes = [str(label) for label in range(11)]
    dataset = ImageMasks(classes, str(folder), PICTURES) if task.masks else ImageFolder(["a"], str(folder / "pictures"))
    warp = Warp(*task.size, scale=task.scale, **COLORS)
    count, turn = task.count // BATCH, iter(range(1 << 30))

    shelf = PixelCache(places_for([dataset], [True]), 1 << 40) if cached else None

    def way() -> tuple[Any, Any]:
        start = next(turn) * count
        batches = train_loader(dataset, [warp], BATCH, seed=0, start=start, stop=start + count, shelf=shelf)
        return run((batch.images, batch.label_maps) for batch in batches)

    return way


class Files(torch.utils.data.Dataset[Any]):
    """Files for a peer. read: paths of picture and mask to the tensors of both, the mask None without masks."""

    def __init__(self, folder: Path, task: Task, read: Any) -> None:
        self.pairs = [(path, folder / "masks" / f"{path.stem}.png") for path in sorted((folder / PICTURES).iterdir())]
        self.read, self.masks = read, task.masks

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        picture, mask = self.pairs[index]
        return self.read(picture, mask if self.masks else None)


def loader_of(files: Files) -> Way:
    def collate(samples: list[Any]) -> tuple[Any, Any]:
        images, masks = zip(*samples, strict=True)
        return torch.stack(images), None if masks[0] is None else torch.stack(masks)

    loader = torch.utils.data.DataLoader(files, BATCH, shuffle=True, collate_fn=collate, num_workers=0)
    return lambda: run(iter(loader))


def albumentations_way(folder: Path, task: Task) -> Way:
    import albumentations as A

    low, high = (factor - 1 for factor in task.scale)
    height, width = task.size
    compose = A.Compose([
        A.RandomScale(scale_limit=(low, high), p=1),
        A.PadIfNeeded(height, width, position="top_left", fill=0, fill_mask=255),
        A.RandomCrop(height, width),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.6, 1.4), hue=(-0.1, 0.1), p=1),
    ])  # fmt: skip

    def read(picture: Path, mask: Path | None) -> Any:
        image = cv2.imread(str(picture), cv2.IMREAD_COLOR_RGB)
        if mask is None:
            made = compose(image=image)
            return torch.from_numpy(made["image"]).permute(2, 0, 1), None
        made = compose(image=image, mask=cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))
        return torch.from_numpy(made["image"]).permute(2, 0, 1), torch.from_numpy(made["mask"])

    return loader_of(Files(folder, task, read))


def torchvision_way(folder: Path, task: Task) -> Way:
    from torchvision import io, tv_tensors
    from torchvision.transforms import v2

    fills = {tv_tensors.Image: 0, tv_tensors.Mask: 255}
    compose = v2.Compose([
        v2.ScaleJitter(task.stored, task.scale, antialias=False),
        v2.RandomCrop(task.size, pad_if_needed=True, fill=fills),
        v2.RandomHorizontalFlip(0.5),
        v2.ColorJitter(**COLORS),
    ])  # fmt: skip

    def read(picture: Path, mask: Path | None) -> Any:
        image = tv_tensors.Image(io.decode_jpeg(io.read_file(str(picture))))
        if mask is None:
            return compose(image), None
        image, labels = compose(image, tv_tensors.Mask(io.decode_png(io.read_file(str(mask)))[0]))
        return image.as_subclass(torch.Tensor), labels.as_subclass(torch.Tensor)

    return loader_of(Files(folder, task, read))
