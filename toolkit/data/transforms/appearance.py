"""Changes of how a picture looks, each under its plain name: colours, noise, blur, edges, holes. No pixel moves."""

from __future__ import annotations

from abc import abstractmethod
from random import Random

import cv2
import numpy as np

from toolkit.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from toolkit.contracts import TRANSFORMS, Transform
from toolkit.errors import ConfigError, Problem
from toolkit.samples import IGNORE_INDEX, Sample


class _Appearance(Transform):
    """Changes the image alone, with a probability."""

    random = True
    geometric = False
    p: float

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        generator = Random(seed)
        if generator.random() >= self.p:
            return sample
        return sample._replace(image=np.ascontiguousarray(self.changed(sample.image, generator)))

    @abstractmethod
    def changed(self, image: np.ndarray, generator: Random) -> np.ndarray:
        """The changed (H, W, C) uint8 image. generator: where every random number comes from."""


@TRANSFORMS.register("color_drop")
class ColorDrop(_Appearance):
    """Gray with the same number of channels (Chen et al. 2020, "SimCLR", appendix A).

    Args:
        p: probability, 0..1, that a sample loses its colours.
    """

    def __init__(self, p: Probability = 0.2) -> None:
        self.p = p

    def changed(self, image: np.ndarray, generator: Random) -> np.ndarray:
        """See `_Appearance`."""
        if image.shape[2] != 3:
            return image
        return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


@TRANSFORMS.register("color_jitter")
class ColorJitter(_Appearance):
    """Brightness, contrast, saturation and hue, each changed by a random amount, in random order, as torchvision's ColorJitter.

    Images of one channel get brightness and contrast only.

    Args:
        brightness: factors from max(0, 1 - b) to 1 + b.
        contrast: the same for the distance from the mean gray value.
        saturation: the same for the distance from gray of each pixel.
        hue: turns of the circle of colours, from -h to h, at most 0.5.
        p: probability, 0..1, that a sample is changed.
    """

    def __init__(
        self,
        brightness: NonNegativeFloat = 0.4,
        contrast: NonNegativeFloat = 0.4,
        saturation: NonNegativeFloat = 0.4,
        hue: NonNegativeFloat = 0.1,
        p: Probability = 0.8,
    ) -> None:
        if hue > 0.5:
            raise ConfigError(Problem("hue", f"wanted 0 to 0.5 of a turn, found {hue}"))
        self.amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        self.p = p

    def changed(self, image: np.ndarray, generator: Random) -> np.ndarray:
        """See `_Appearance`."""
        names = list(self.amounts) if image.shape[2] == 3 else ["brightness", "contrast"]
        generator.shuffle(names)
        for name in names:
            amount = self.amounts[name]
            if name == "hue":
                image = _turned_hue(image, generator.uniform(-amount, amount))
                continue
            factor = generator.uniform(max(0.0, 1 - amount), 1 + amount)
            image = _blended(image, _base(image, name), factor)
        return image


def _base(image: np.ndarray, name: str) -> np.ndarray | float:
    """What a factor of 0 would leave: black, the mean gray value, or the gray picture."""
    if name == "brightness":
        return 0.0
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] if image.shape[2] == 3 else image
    return float(gray.mean()) if name == "contrast" else gray.astype(np.float32)


def _blended(image: np.ndarray, base: np.ndarray | float, factor: float) -> np.ndarray:
    changed = factor * image.astype(np.float32) + (1 - factor) * base
    return np.rint(np.clip(changed, 0, 255)).astype(np.uint8)


def _turned_hue(image: np.ndarray, turn: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(turn * 256)) % 256
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


@TRANSFORMS.register("gaussian_noise")
class GaussianNoise(_Appearance):
    """Normal noise, of its own for each pixel and channel.

    Args:
        std: largest standard deviation in gray values of 255; a sample's is drawn evenly from 0 to it.
        p: probability, 0..1, that a sample gets noise.
    """

    def __init__(self, std: NonNegativeFloat = 20.0, p: Probability = 0.5) -> None:
        self.std, self.p = std, p

    def changed(self, image: np.ndarray, generator: Random) -> np.ndarray:
        """See `_Appearance`."""
        noise = np.random.Generator(np.random.PCG64(generator.getrandbits(64)))
        std = generator.uniform(0, self.std)
        return np.rint(np.clip(image + noise.normal(0, std, image.shape), 0, 255)).astype(np.uint8)


@TRANSFORMS.register("gaussian_blur")
class GaussianBlur(_Appearance):
    """Blurred by a Gaussian of random width.

    Args:
        minimum: smallest standard deviation in pixels; 0.1 in SimCLR's appendix A.
        maximum: largest standard deviation in pixels, not below `minimum`; 2.0 there.
        p: probability, 0..1, that a sample is blurred.
    """

    def __init__(self, minimum: PositiveFloat = 0.1, maximum: PositiveFloat = 2.0, p: Probability = 0.5) -> None:
        if minimum > maximum:
            raise ConfigError(Problem("minimum", f"is larger than maximum: {minimum} > {maximum}"))
        self.minimum, self.maximum, self.p = minimum, maximum, p

    def changed(self, image: np.ndarray, generator: Random) -> np.ndarray:
        """See `_Appearance`."""
        blurred = cv2.GaussianBlur(image, (0, 0), generator.uniform(self.minimum, self.maximum))
        return blurred.reshape(image.shape)


@TRANSFORMS.register("sobel")
class Sobel(_Appearance):
    """Edges in place of the picture: the length of the gradient by Sobel's 3x3 filters, cut at 255, in every channel.

    Args:
        p: probability, 0..1, that a sample is filtered; with 1 it may stand in val and test as well.
    """

    def __init__(self, p: Probability = 0.5) -> None:
        self.p = p
        self.random = p < 1

    def changed(self, image: np.ndarray, generator: Random) -> np.ndarray:
        """See `_Appearance`."""
        gray = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]).astype(np.float32)
        length = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
        edges = np.rint(np.minimum(length, 255)).astype(np.uint8)
        return np.repeat(edges[..., None], image.shape[2], axis=2)


@TRANSFORMS.register("cutout")
class Cutout(Transform):
    """Square holes in the picture (DeVries and Taylor 2017, "Improved regularization of CNNs with cutout").

    A hole's middle is anywhere, so that a part of it may lie outside. Boxes stay: what is hidden is still to be found.

    Args:
        size: side of a hole in pixels.
        holes: number of holes in a picture.
        fill: gray value of the holes, 0..255.
        ignore: whether covered pixels of a label map do not count; otherwise the net has to guess them.
        p: probability, 0..1, that a sample gets holes.
    """

    random = True
    geometric = False

    def __init__(
        self, size: PositiveInt, holes: PositiveInt = 1, fill: NonNegativeFloat = 0.0, ignore: bool = False,
        p: Probability = 0.5,
    ) -> None:  # fmt: skip
        self.size, self.holes, self.fill, self.ignore, self.p = size, holes, fill, ignore, p

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """See `Transform`."""
        generator = Random(seed)
        if generator.random() >= self.p:
            return sample
        height, width = sample.image.shape[:2]
        covered = np.zeros((height, width), bool)
        for _ in range(self.holes):
            top = generator.randrange(height) - self.size // 2
            left = generator.randrange(width) - self.size // 2
            covered[max(0, top) : top + self.size, max(0, left) : left + self.size] = True
        image = np.where(covered[..., None], np.uint8(min(255, round(self.fill))), sample.image)
        label_map, value_map = sample.label_map, sample.value_map
        if self.ignore and label_map is not None:
            label_map = np.where(covered, np.uint8(IGNORE_INDEX), label_map)
        if self.ignore and value_map is not None:
            value_map = np.where(covered, np.float32(np.nan), value_map)
        return sample._replace(image=image, label_map=label_map, value_map=value_map)
