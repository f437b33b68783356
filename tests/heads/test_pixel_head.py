from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from toolkit.contracts import FeaturePyramid, PyramidSpec
from toolkit.errors import DataError, PartsError
from toolkit.heads.pixel import PixelHead
from toolkit.losses.cross_entropy import CrossEntropy
from toolkit.losses.overlap import Dice
from toolkit.losses.weighted_sum import WeightedSum
from toolkit.ops.resize import upsample
from toolkit.samples import Sample, collate


def pyramid(spec, size, number=2):
    maps = [
        torch.randn(number, c, -(-(size[0] - 2 * b) // s), -(-(size[1] - 2 * b) // s))
        for c, s, b in zip(spec.channels, spec.strides, spec.borders, strict=True)
    ]
    return FeaturePyramid(tuple(maps), spec, size)


def batch(sizes, classes=3, original_sizes=None, weights=False):
    rng = np.random.default_rng(0)
    return collate(
        [
            Sample(
                image=np.zeros((*size, 3), np.uint8),
                name=f"{i}.png",
                position=i,
                original_size=(original_sizes or sizes)[i],
                label_map=rng.integers(0, classes, size).astype(np.uint8),
                weight_map=rng.random(size).astype(np.float32) if weights else None,
            )
            for i, size in enumerate(sizes)
        ]
    )


def test_default_loss_is_cross_entropy_on_upsampled_logits_of_the_finest_map():
    spec = PyramidSpec((8, 16), (4, 8))
    head, features, data = PixelHead(spec, 3), pyramid(spec, (32, 48)), batch([(32, 48), (20, 31)])
    logits = head(features)
    assert logits.shape == (2, 3, 8, 12)
    full = F.interpolate(logits, size=(32, 48), mode="bilinear", align_corners=False)
    found = head.loss(features, data)
    assert list(found) == ["cross_entropy"]
    expected = F.cross_entropy(full, data.label_maps.long(), ignore_index=255)
    torch.testing.assert_close(found["cross_entropy"], expected)


def test_a_weighted_sum_is_logged_by_its_parts_and_weight_maps_reach_the_loss():
    spec = PyramidSpec((8,), (1,))
    head = PixelHead(spec, 3, loss=WeightedSum([CrossEntropy(), Dice()], [1.0, 0.5]))
    assert list(head.loss(pyramid(spec, (9, 7)), batch([(9, 7), (9, 7)]))) == ["cross_entropy", "dice"]
    head, features, data = PixelHead(spec, 3), pyramid(spec, (9, 7)), batch([(9, 7), (9, 7)], weights=True)
    terms = F.cross_entropy(head(features), data.label_maps.long(), reduction="none")
    torch.testing.assert_close(head.loss(features, data)["cross_entropy"], (terms * data.weight_maps).mean())


def test_a_border_is_cropped_from_labels_and_weights():
    spec = PyramidSpec((4,), (1,), borders=(3,))
    head, features, data = PixelHead(spec, 3), pyramid(spec, (16, 20)), batch([(16, 20), (16, 20)], weights=True)
    logits = head(features)
    assert logits.shape[2:] == (10, 14)
    inner = (slice(None), slice(3, 13), slice(3, 17))
    terms = F.cross_entropy(logits, data.label_maps[inner].long(), reduction="none")
    expected = (terms * data.weight_maps[inner]).mean()
    torch.testing.assert_close(head.loss(features, data)["cross_entropy"], expected)


def test_corner_sampling_takes_the_label_each_cell_starts_at():
    # The dilated front end: output (in - 372) / 8, labels cropped at 186 and then every eighth pixel.
    spec = PyramidSpec((4,), (8,), borders=(186,))
    size = (372 + 8 * 3, 372 + 8 * 5)
    head, features = PixelHead(spec, 3, label_sampling="corner"), pyramid(spec, size, 1)
    data = batch([size], weights=True)
    assert head(features).shape[2:] == (3, 5)
    rows, columns = torch.arange(3) * 8 + 186, torch.arange(5) * 8 + 186
    labels = data.label_maps[:, rows][:, :, columns].long()
    weights = data.weight_maps[:, rows][:, :, columns]
    expected = (F.cross_entropy(head(features), labels, reduction="none") * weights).mean()
    torch.testing.assert_close(head.loss(features, data)["cross_entropy"], expected)


@pytest.mark.parametrize("grid", ["half_pixel", "corner"])
@pytest.mark.parametrize("interpolate", ["logits", "probabilities"])
@pytest.mark.parametrize("border", [0, 2])
def test_predictions_are_resized_to_original_pixels_before_the_classes_are_compared(grid, interpolate, border):
    # Predicting takes cell (0, 0) to start at pixel (0, 0) whatever the border: the model has padded for it.
    spec = PyramidSpec((4,), (4,), borders=(border,))
    sizes, original_sizes = [(30, 44), (17, 23), (32, 48)], [(30, 44), (61, 40), (16, 24)]
    features = FeaturePyramid((torch.randn(3, 4, 8, 12) * 4,), spec, (32, 48))
    data = batch(sizes, original_sizes=original_sizes)
    head = PixelHead(spec, 3, upsample=grid, interpolate=interpolate)
    head.with_scores = True
    logits = head(features)
    maps = logits.softmax(1) if interpolate == "probabilities" else logits
    for i, found in enumerate(head.predict(features, data)):
        full = upsample(maps[i : i + 1], 4, sizes[i], grid)
        full = F.interpolate(full, size=original_sizes[i], mode="bilinear", align_corners=False)[0]
        scores = full if interpolate == "probabilities" else full.softmax(0)
        assert found.labels.dtype == torch.uint8
        assert (found.labels == full.argmax(0)).float().mean() > 0.999  # rounding may turn a tie
        torch.testing.assert_close(found.scores, scores.amax(0), rtol=1e-4, atol=1e-5)


def test_no_scores_unless_asked_for_and_the_batch_changes_nothing():
    spec = PyramidSpec((4,), (2,))
    head, data = PixelHead(spec, 5), batch([(12, 10), (12, 10)])
    features = pyramid(spec, (12, 10))
    both = head.predict(features, data)
    assert both[0].scores is None
    alone = head.predict(FeaturePyramid((features.maps[0][1:],), spec, (12, 10)), batch([(12, 10)]))
    assert torch.equal(alone[0].labels, both[1].labels)


def test_chooses_its_map_by_stride():
    spec = PyramidSpec((3, 5, 7), (4, 8, 8))
    assert PixelHead(spec, 2).classifier.in_channels == 3
    assert PixelHead(spec, 2, stride=8).classifier.in_channels == 7
    with pytest.raises(PartsError, match="head 'pixel': needs a map of stride 2, but its input has strides 4, 8, 8"):
        PixelHead(spec, 2, stride=2)


@pytest.mark.parametrize(("classes", "message"), [(1, "give the rest a name"), (256, "2 to 255"), (0, "found 0")])
def test_class_counts_that_do_not_work_are_refused(classes, message):
    with pytest.raises(PartsError, match=message):
        PixelHead(PyramidSpec((3,), (1,)), classes)


def test_kernel_size_keeps_the_size():
    spec = PyramidSpec((3,), (1,))
    head = PixelHead(spec, 2, kernel_size=3)
    assert head.classifier.weight.shape == (2, 3, 3, 3)
    assert head(pyramid(spec, (5, 4))).shape == (2, 2, 5, 4)


def test_the_file_of_an_impossible_label_is_named():
    spec = PyramidSpec((3,), (1,))
    data = batch([(6, 6), (6, 6)], classes=2)
    data.label_maps[1, 2, 2] = 9
    with pytest.raises(DataError, match=r"^1\.png: its label map holds 9 \(1 pixels\), but labels are 0\.\.1"):
        PixelHead(spec, 2).loss(pyramid(spec, (6, 6)), data)


def test_no_label_maps_is_said():
    spec = PyramidSpec((3,), (1,))
    data = batch([(6, 6)])._replace(label_maps=None)
    with pytest.raises(PartsError, match="needs label maps"):
        PixelHead(spec, 2).loss(pyramid(spec, (6, 6), 1), data)


def test_initial_weights():
    spec = PyramidSpec((8,), (1,))
    torch.manual_seed(0)
    identity = PixelHead(spec, 4, kernel_size=3, init="identity")
    features = pyramid(spec, (5, 6))
    # Eight channels in four classes: class b is the sum of channels 2b and 2b + 1.
    torch.testing.assert_close(identity(features), features.maps[0].reshape(2, 4, 2, 5, 6).sum(2))
    wide = PyramidSpec((2000,), (1,))
    for init, deviation in [("small", 0.001), ("he", (2 / 2000) ** 0.5), ("noisy_identity", 0.01)]:
        head = PixelHead(wide, 20, init=init)
        others = head.classifier.weight[head.classifier.weight != 1]
        assert others.std().item() == pytest.approx(deviation, rel=0.03)
        assert not head.classifier.bias.any()


def test_dropout_only_in_training():
    spec = PyramidSpec((64,), (1,))
    head, features = PixelHead(spec, 2, dropout=0.5), pyramid(spec, (4, 4))
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_runs_on_the_meta_device(size):
    spec = PyramidSpec((4, 8), (4, 8))
    head = PixelHead(spec, 3).to("meta")
    features = pyramid(spec, size)
    maps = tuple(m.to("meta") for m in features.maps)
    assert head(FeaturePyramid(maps, spec, size)).shape == (2, 3, -(-size[0] // 4), -(-size[1] // 4))
