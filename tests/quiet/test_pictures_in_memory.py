"""A picture in memory is predicted as its file is, and what cannot be one is refused instead of giving rubbish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from toolkit.errors import DataError
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Sample, collate

RNG = np.random.default_rng(3)
ARRAY = RNG.integers(0, 256, (37, 45, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> VisionModel:
    torch.manual_seed(0)
    return toolkit.segnet_basic(5)


def labels(prediction: Any) -> np.ndarray:
    return np.asarray(prediction.labels)


def of_file(model: VisionModel, array: np.ndarray, folder: Path) -> np.ndarray:
    Image.fromarray(array).save(folder / "a.png")
    (result,) = toolkit.predict(model, folder / "a.png")
    return labels(result.prediction)


def forms(array: np.ndarray) -> dict[str, Any]:
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    floats = tensor.float() / 255
    return {
        "array": array,
        "float array": (array / 255).astype(np.float32),
        "double array": array / 255,
        "alpha": np.dstack([array, np.full(array.shape[:2], 7, np.uint8)]),
        "PIL": Image.fromarray(array),
        "PIL with alpha": Image.fromarray(array).convert("RGBA"),
        "tensor": tensor,
        "float tensor": floats,
        "double tensor": floats.double(),
        "batch of one": tensor[None],
        "batch of arrays": array[None],
        "list": [array],
    }


@pytest.mark.parametrize("form", forms(ARRAY))
def test_every_form_gives_what_the_file_gives(model: VisionModel, tmp_path: Path, form: str) -> None:
    expected, given = of_file(model, ARRAY, tmp_path), forms(ARRAY)[form]
    (result,) = toolkit.predict(model, given)
    assert np.array_equal(labels(result.prediction), expected)
    assert result.image is not None
    assert np.array_equal(result.image, ARRAY)
    (found,) = model.predict(given)
    assert np.array_equal(labels(found), expected)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA"])
def test_gray_and_palette_pictures(model: VisionModel, tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(ARRAY).convert(mode)
    picture.save(tmp_path / "b.png")
    (expected,) = toolkit.predict(model, tmp_path / "b.png")
    (found,) = toolkit.predict(model, picture)
    assert np.array_equal(labels(found.prediction), labels(expected.prediction))


def test_gray_arrays_have_two_dimensions_or_one_channel(model: VisionModel) -> None:
    gray = ARRAY[:, :, 0]
    first, *others = model.predict([gray, gray[:, :, None], torch.from_numpy(gray), torch.from_numpy(gray)[None]])
    assert all(np.array_equal(labels(first), labels(other)) for other in others)


def test_exif_turns_a_picture_as_it_turns_its_file(model: VisionModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ARRAY).save(tmp_path / "c.jpg", exif=exif, quality=95)
    (expected,) = toolkit.predict(model, tmp_path / "c.jpg")
    (found,) = toolkit.predict(model, Image.open(tmp_path / "c.jpg"))
    assert labels(found.prediction).shape == labels(expected.prediction).shape == (45, 37)
    assert (labels(found.prediction) == labels(expected.prediction)).mean() > 0.99  # two decoders


def test_mixtures_keep_their_order_and_have_names(model: VisionModel, tmp_path: Path) -> None:
    Image.fromarray(ARRAY).save(tmp_path / "a.png")
    small = ARRAY[:20, :24]
    sources = [small, tmp_path / "a.png", torch.from_numpy(ARRAY).permute(2, 0, 1), Image.fromarray(small)]
    results = list(toolkit.predict(model, sources, batch_size=2))
    assert [result.name for result in results] == ["picture_0", "a.png", "picture_1", "picture_2"]
    assert [labels(result.prediction).shape for result in results] == [(20, 24), (37, 45), (37, 45), (20, 24)]
    assert np.array_equal(labels(results[0].prediction), labels(results[3].prediction))
    assert [len(labels(found)) for found in model.predict(sources)] == [20, 37, 37, 20]


WRONG = {
    "floats 0..255": (ARRAY.astype(np.float32), "found floats from 0 to 255; divide by 255"),
    "normalised": ((ARRAY / 255 - 0.45) / 0.22, "pixels that are not normalised"),
    "float tensor 0..255": (torch.from_numpy(ARRAY).permute(2, 0, 1).float(), "divide by 255"),
    "16 bits": (ARRAY.astype(np.uint16), "found uint16"),
    "int64": (ARRAY.astype(np.int64), "wanted uint8 0..255 or floats 0..1, found int64"),
    "channels first": (ARRAY.transpose(2, 0, 1), "its channels come first: give array.transpose(1, 2, 0)"),
    "channels last": (torch.from_numpy(ARRAY), "its channels come last: give tensor.permute(2, 0, 1)"),
    "not a number": (np.full((4, 4), np.nan, np.float32), "found floats from nan to nan"),
    "empty": (np.zeros((0, 5, 3), np.uint8), "is empty: (0, 5, 3)"),
    "two dimensions too many": (np.zeros((1, 1, 4, 4, 3), np.uint8), "wanted an array (H, W, 3)"),
    "32-bit PIL": (Image.new("I", (5, 4)), "wanted 8 bits a channel"),
    "dict": ({"image": ARRAY}, "wanted the path of a file or folder, a glob, an array (H, W, 3)"),
    "nothing": (None, "found NoneType"),
    "list of lists": ([[1, 2], [3, 4]], "picture 0: wanted the path of a file"),
    "batch": (collate([Sample(ARRAY, "a", 0, (37, 45))]), "found a Batch; model.predict(batch) takes it"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_picture_is_refused_at_once(model: VisionModel, kind: str) -> None:
    given, said = WRONG[kind]
    with pytest.raises(DataError) as caught:
        toolkit.predict(model, given)
    assert said in str(caught.value)


def test_all_that_is_wrong_is_said_together(model: VisionModel) -> None:
    with pytest.raises(DataError) as caught:
        toolkit.predict(model, [ARRAY, ARRAY.astype(float), ARRAY.transpose(2, 0, 1), 7, "nowhere.png"])
    assert len(caught.value.problems) == 4


IMAGES = torch.from_numpy(ARRAY).permute(2, 0, 1)[None]


@pytest.mark.parametrize("detector", [False, True])
def test_the_range_of_float_images_is_looked_at(detector: bool) -> None:
    torch.manual_seed(0)
    model = (toolkit.faster_rcnn("resnet18", 2, norm="batch") if detector else toolkit.segnet_basic(3)).eval()
    images = torch.nn.functional.pad(IMAGES, (0, 19, 0, 27))
    with torch.no_grad():
        raw = [model(given) for given in (images, images.float() / 255, images.double() / 255)]
    logits = [getattr(found, "objectness", found) for found in raw]
    scale = float(logits[0].abs().max())
    assert all(torch.allclose(logits[0], other, atol=1e-4 * scale) for other in logits[1:])
    batch = collate([Sample(ARRAY, "a", 0, (37, 45))])
    for wrong in (images.float(), images.float() / 255 - 0.45, images.double()):
        for call in (model, lambda given: model.predict(batch._replace(images=given[:, :, :37, :45]))):
            with pytest.raises(DataError, match=r"wanted uint8 pixels 0\.\.255 or floats 0\.\.1, found floats from"):
                call(wrong)


def test_half_a_gray_level_beyond_is_rounding(model: VisionModel) -> None:
    model.eval()(torch.full((1, 3, 16, 16), 1.001))
    model(torch.full((1, 3, 16, 16), -0.001))


@pytest.mark.parametrize("given", [(IMAGES, IMAGES[:, 0]), [IMAGES], IMAGES, {"images": IMAGES}])
def test_the_loss_wants_a_batch(model: VisionModel, given: Any) -> None:
    with pytest.raises(DataError, match=f"wanted a Batch, found {type(given).__name__}"):
        model.loss(given)


def test_predicting_a_batch_in_training_mode_is_said() -> None:
    model = toolkit.segnet_basic(3)
    batch = collate([Sample(ARRAY, "a", 0, (37, 45))])
    with pytest.warns(UserWarning, match=r"training mode: .* model\.eval\(\)"):
        model.predict(batch)
    assert model.training


def test_pictures_are_predicted_in_eval_mode_and_the_mode_is_put_back(model: VisionModel) -> None:
    expected = labels(model.eval().predict(ARRAY)[0])
    model.train()
    model.backbone.eval()
    found = labels(model.predict(ARRAY)[0])
    assert np.array_equal(found, expected)
    assert model.training
    assert not model.backbone.training
