from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.data.images.label_maps import read_label_map
from toolkit.data.images.read import read_image
from toolkit.errors import ConfigError, UserError
from toolkit.inference.writers.base import TableRow, Writer, write_whole
from toolkit.inference.writers.label_maps import MaskWriter
from toolkit.inference.writers.names import output_stems
from toolkit.inference.writers.outputs import WRITERS, Outputs
from toolkit.inference.writers.overlay import OverlayWriter
from toolkit.samples import PREDICTION_NAMES, Detections, ImageScores, LabelMap

CLASSES, PALETTE = ["sky", "road"], [(0, 128, 255), (90, 90, 90)]
BRIGHT = [(0, 128, 255), (220, 150, 30)]
IMAGE = np.full((300, 400, 3), 60, np.uint8)


def labels(size=(300, 400)):
    label_map = np.zeros(size, np.uint8)
    label_map[size[0] // 2 :] = 1
    return LabelMap(torch.from_numpy(label_map))


def detections():
    boxes = torch.tensor([[10.0, 60.0, 90.0, 120.0], [200.0, 150.0, 300.0, 250.0]])
    return Detections(boxes, torch.tensor([0.9, 0.3]), torch.tensor([1, 0]))


def test_a_mask_holds_class_ids_and_their_colours(tmp_path):
    prediction = LabelMap(torch.from_numpy(np.random.default_rng(0).integers(0, 256, (31, 45)).astype(np.uint8)))
    (path,) = MaskWriter(tmp_path, CLASSES, PALETTE).add("day/a", IMAGE, prediction)
    assert path == tmp_path / "day" / "a.png"
    picture = Image.open(path)
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), prediction.labels.numpy())
    assert picture.getpalette()[:6] == [0, 128, 255, 90, 90, 90]
    assert np.array_equal(read_label_map(path), prediction.labels.numpy())
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("classes", [2, 17, 200])
def test_few_classes_round_trip_too(tmp_path, classes):
    prediction = LabelMap(torch.arange(classes, dtype=torch.uint8).repeat(3, 1))
    (path,) = MaskWriter(tmp_path, [str(i) for i in range(classes)]).add("a", IMAGE, prediction)
    assert np.array_equal(read_label_map(path), prediction.labels.numpy())


def test_an_overlay_of_labels_has_the_picture_and_a_legend_of_the_classes_present(tmp_path):
    writer = OverlayWriter(tmp_path, ["sky", "road", "absent"], [*BRIGHT, (255, 0, 255)])
    drawn = writer.draw(IMAGE, labels())
    assert drawn.shape[1] == 400
    assert drawn[10, 10].tolist() == [30, 94, 158]  # half way between the picture and the class
    strip = drawn[300:]
    assert (strip == BRIGHT[0]).all(2).any()
    assert (strip == BRIGHT[1]).all(2).any()
    assert not (strip == (255, 0, 255)).all(2).any()
    (path,) = writer.add("x", IMAGE, labels())
    assert path.name == "x_overlay.jpg"
    assert np.abs(read_image(path).astype(int) - drawn).mean() < 2


def test_small_pictures_are_enlarged(tmp_path):
    writer = OverlayWriter(tmp_path, CLASSES, BRIGHT)
    assert writer.draw(np.zeros((30, 40, 1), np.uint8), labels((30, 40))).shape[1] == 320


def test_an_overlay_of_boxes_draws_what_reaches_the_score(tmp_path):
    writer = OverlayWriter(tmp_path, CLASSES, BRIGHT)
    drawn = writer.draw(IMAGE, detections())
    assert drawn.shape[0] > IMAGE.shape[0]  # the legend, and the score that is drawn, below
    assert drawn.shape[1] == IMAGE.shape[1]
    assert (drawn == BRIGHT[1]).all(2).any()
    assert not (drawn == BRIGHT[0]).all(2).any()
    writer.min_score = 0.2
    everything = writer.draw(IMAGE, detections())
    assert (everything == BRIGHT[0]).all(2).any()


def test_without_a_format_every_picture_that_fits_is_written(tmp_path):
    outputs = Outputs(tmp_path, None, CLASSES, PALETTE)
    assert [path.name for path in outputs.add("a", IMAGE, labels()).files] == ["a.png", "a_overlay.jpg"]
    assert [path.name for path in outputs.add("b", IMAGE, detections()).files] == ["b_overlay.jpg"]
    scores = outputs.add("c", IMAGE, ImageScores(torch.ones(2)))
    assert scores.files == []
    written = outputs.finish(lambda name: iter([TableRow(3, "c", scores.rows[name])] if name in scores.rows else []))
    assert [path.name for path in written] == ["predictions.csv"]


def test_unknown_and_unfitting_formats_are_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        Outputs(tmp_path, ["maks", "overly"], CLASSES)
    assert "did you mean 'mask'?" in str(caught.value)
    assert "did you mean 'overlay'?" in str(caught.value)
    with pytest.raises(ConfigError, match=r"'mask' does not take .*\(Detections\); formats that do: .*overlay"):
        Outputs(tmp_path, ["mask"], CLASSES).add("a", IMAGE, detections())


def test_an_input_is_never_replaced(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    outputs = Outputs(tmp_path, ["mask"], CLASSES, inputs=lambda: [source])
    with pytest.raises(UserError, match="would replace an input"):
        outputs.add("a", IMAGE, labels())
    assert source.read_bytes() == b"picture"


def test_a_file_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "a").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        write_whole(tmp_path / "a" / "b.png", b"x")
    write_whole(tmp_path / "c.png", b"old")
    (tmp_path / "d.png").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_whole(tmp_path / "d.png", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c.png", "d.png"]


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png"], ["a_jpg", "a_png"]),
        (["a.jpg", "A.jpg"], ["a_jpg", "A_jpg_2"]),
        (["a.jpg", "a.png", "a_jpg.tif"], ["a_jpg_2", "a_png", "a_jpg"]),
        (["x/a.jpg", "y/a.jpg", "a"], ["x/a", "y/a", "a"]),
        (["a.jpg", "a.jpg"], ["a_jpg", "a_jpg_2"]),
    ],
)
def test_no_two_inputs_share_an_output(names, stems):
    assert output_stems(names) == stems
    assert len({stem.casefold() for stem in stems}) == len(names)


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "x/../../a.png", ""])
def test_outputs_stay_in_their_folder(name):
    with pytest.raises(ValueError, match="not a path below"):
        output_stems([name])


def test_every_format_says_what_it_takes():
    for name, writer in WRITERS.items():
        assert writer.takes, name
        assert set(writer.by_default) <= set(writer.takes), name
    assert {kind for writer in WRITERS.values() for kind in writer.by_default} == set(PREDICTION_NAMES)
    suffixes = [writer.suffix for writer in WRITERS.values() if not writer.files and writer.__base__ is Writer]
    assert len(set(suffixes)) == len(suffixes)


def test_labels_with_and_without_scores_are_not_written_over_one_another(tmp_path):
    with pytest.raises(ConfigError):
        Outputs(tmp_path, ["yolo", "yolo_scores"], ["a"])
