"""`image_masks` and `camvid`: what pairs, what is refused, what the messages say."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.data.datasets.camvid import CamVid
from toolkit.data.datasets.image_masks import ImageMasks
from toolkit.data.formats.pairs import SplitList, find_pairs
from toolkit.errors import ConfigError, DataError
from toolkit.samples import IGNORE_INDEX


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def image(seed: int = 0, size: tuple[int, int] = (8, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def labels(*values: int, size: tuple[int, int] = (8, 10)) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), size)


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a", "b", "c"):
        put(tmp_path / f"images/{name}.jpg", image())
        put(tmp_path / f"masks/{name}.png", labels(0, 1, 2, 255))
    return tmp_path


def make(root: Path, classes=("sky", "road", "car"), **options) -> ImageMasks:
    return ImageMasks(list(classes), str(root), **options)


def test_pairs_in_order(folder):
    data = make(folder)
    assert [data[i].name for i in range(len(data))] == ["images/a.jpg", "images/b.jpg", "images/c.jpg"]
    assert data[1].position == 1
    assert data[1].original_size == (8, 10)
    np.testing.assert_array_equal(data[1].label_map, labels(0, 1, 2, 255))
    assert "3 images" in data.describe()


def test_folders_below_and_hidden_files(folder):
    put(folder / "images/street/a.png", image())
    put(folder / "masks/street/a.png", labels(0))
    (folder / "images/.DS_Store").write_bytes(b"x")
    (folder / "images/._a.jpg").write_bytes(b"x")
    (folder / "images/notes.txt").write_text("x")
    assert [pair.key for pair in make(folder).pairs] == ["a", "b", "c", "street/a"]


def test_suffixes_globs_and_one_folder(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / f"all/{name}.jpg", image())
        put(tmp_path / f"all/{name}_mask.png", labels(1))
        put(tmp_path / f"city/{name}_left.png", image())
        put(tmp_path / f"city_fine/{name}_ids.png", labels(1))
        put(tmp_path / f"city_fine/{name}_color.png", image())
    assert [p.key for p in make(tmp_path, images="all", masks="all", mask_suffix="_mask").pairs] == ["a", "b"]
    found = make(tmp_path, images="all/*.jpg", masks="all/*_mask.png", mask_suffix="_mask").pairs
    assert [(p.key, p.mask.name) for p in found] == [("a", "a_mask.png"), ("b", "b_mask.png")]
    found = make(tmp_path, images="city", masks="city_fine", image_suffix="_left", mask_suffix="_ids").pairs
    assert [p.image.name for p in found] == ["a_left.png", "b_left.png"]


def test_split_files(folder):
    (folder / "val.txt").write_text("# two of them\nc.jpg\n\na\n")
    assert [pair.key for pair in make(folder, split="val.txt").pairs] == ["c", "a"]
    (folder / "bad.txt").write_text("c\nx\ny\n")
    with pytest.raises(DataError, match=r"2 image\(s\) of the split not found: x, y"):
        make(folder, split="bad.txt")
    (folder / "twice.txt").write_text("c\nc.jpg\n")
    with pytest.raises(DataError, match="more than once: c"):
        make(folder, split="twice.txt")
    for nothing in ("\n", "# c\n"):
        (folder / "none.txt").write_text(nothing)
        with pytest.raises(DataError, match="names no images"):
            make(folder, split="none.txt")
    with pytest.raises(DataError, match=r"no split file .*near.*val\.txt"):
        make(folder, split="va.txt")


def test_all_problems_of_the_folders_at_once(folder):
    for i in range(25):
        put(folder / f"images/x{i:02}.png", image())
    put(folder / "masks/lonely.png", labels(0))
    with pytest.raises(DataError) as caught:
        make(folder)
    text = str(caught.value)
    assert "25 image(s) have no mask: x00, x01" in text
    assert "x19 and 5 more" in text
    assert "1 mask(s) have no image: lonely" in text


def test_two_files_of_one_name(folder):
    put(folder / "images/a.png", image())
    with pytest.raises(DataError, match=r"two files are called 'a': a\.jpg and a\.png"):
        make(folder)


def test_missing_and_empty_folders(folder):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        make(folder / "nowhere")
    with pytest.raises(DataError) as caught:
        make(folder, images="image", masks="mask")
    assert str(folder / "images") in str(caught.value)
    assert str(folder / "masks") in str(caught.value)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"no image files in .*empty"):
        make(folder, images="empty")
    (folder / "empty/a.tfrecord").write_text("x")
    with pytest.raises(DataError, match=r"it holds \.tfrecord files"):
        make(folder, images="empty")


def test_size_mismatch_names_both(folder):
    put(folder / "masks/b.png", labels(0, size=(8, 11)))
    data = make(folder)
    data[0]
    with pytest.raises(DataError, match=r"masks/b\.png: the mask is 8x11 .*images/b\.jpg is 8x10"):
        data[1]


def test_size_mismatch_by_exif_says_so(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image()).save(folder / "images/b.jpg", exif=exif)
    with pytest.raises(DataError, match=r"mask is 8x10 .* is 10x8; the image's EXIF tag"):
        make(folder)[1]


def test_label_outside_the_table_names_file_values_and_pixels(folder):
    mask = labels(0, 1, 2)
    mask[:2, :5] = 30
    mask[5, 5] = 7
    put(folder / "masks/b.png", mask)
    with pytest.raises(
        DataError, match=r"masks/b\.png: holds values outside the table: 7 \(1 pixels\), 30 \(10 pixels\)"
    ):
        make(folder)[1]


def test_advice_for_common_mistakes(folder):
    put(folder / "masks/a.png", labels(0, 255))
    with pytest.raises(DataError, match=r"label_values: \{0: 0, 255: 1\}"):
        make(folder, ["membrane", "cell"])[0]
    assert (make(folder)[0].label_map == labels(0, 255)).all()  # three classes: 255 can only mean ignore
    put(folder / "masks/a.png", labels(1, 2, 3))
    with pytest.raises(DataError, match="start at 1"):
        make(folder)[0]
    put(folder / "masks/a.png", np.arange(80, dtype=np.uint8).reshape(8, 10))
    with pytest.raises(DataError, match="photograph"):
        make(folder)[0]


def test_label_values(folder):
    put(folder / "masks/a.png", labels(0, 255, 7))
    found = make(folder, ["m", "c"], label_values={0: 0, 255: 1, 7: "ignore"})[0].label_map
    assert found[0, :3].tolist() == [0, 1, IGNORE_INDEX]
    with pytest.raises(DataError, match=r"255 \(\d+ pixels\).*label_values names 0, 7"):
        make(folder, ["m", "c"], label_values={0: 0, 7: 1})[0]
    with pytest.raises(ConfigError, match=r"value 255 maps to 2; wanted a class id 0\.\.1"):
        make(folder, ["m", "c"], label_values={0: 0, 255: 2})
    with pytest.raises(ConfigError, match="exclude one another"):
        make(folder, ["m", "c"], label_values={0: 0}, colors={"m": [0, 0, 0], "c": [1, 1, 1]})


def test_color_masks(folder):
    colors = {"sky": [128, 128, 128], "road": [128, 64, 128], "car": [64, 0, 128], "ignore": [0, 0, 0]}
    wanted = labels(0, 1, 2, 255)
    table = np.zeros((256, 3), np.uint8)
    table[[0, 1, 2]] = [colors["sky"], colors["road"], colors["car"]]
    for name in ("a", "b", "c"):
        put(folder / f"masks/{name}.png", table[wanted])
    with pytest.raises(DataError, match="colour mask"):
        make(folder)[0]
    data = make(folder, colors=colors)
    np.testing.assert_array_equal(data[0].label_map, wanted)
    assert data.palette == ((128, 128, 128), (128, 64, 128), (64, 0, 128))
    with pytest.raises(DataError, match=r"\[0, 0, 0\] \(20 pixels\)"):
        make(folder, colors={k: v for k, v in colors.items() if k != "ignore"})[0]
    with pytest.raises(ConfigError, match="no colour for: car"):
        make(folder, colors={"sky": [0, 0, 0], "road": [1, 1, 1]})
    with pytest.raises(ConfigError, match="did you mean 'road'"):
        make(folder, colors={**colors, "raod": [9, 9, 9]})


def test_blurred_color_masks_are_recognised(folder):
    noisy = np.clip(np.array([128, 64, 128]) + np.random.default_rng(0).integers(-9, 9, (8, 10, 3)), 0, 255)
    put(folder / "masks/a.png", noisy.astype(np.uint8))
    with pytest.raises(DataError, match="JPEG"):
        make(folder, colors={"sky": [128, 128, 128], "road": [128, 64, 128], "car": [64, 0, 128]})[0]


def test_gray_images(folder):
    assert make(folder, channels=1)[0].image.shape == (8, 10, 1)


def test_truncated_image_is_named(folder):
    path = folder / "images/c.jpg"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"images/c\.jpg: the JPEG is truncated"):
        make(folder)[2]


def test_find_pairs_of_the_same_folder_needs_no_order(folder):
    forwards = find_pairs(folder / "images", folder / "masks")
    backwards = SplitList(folder / "list.txt", [p.key for p in forwards[::-1]])
    assert find_pairs(folder / "images", folder / "masks", backwards) == forwards[::-1]


def camvid_file(path: Path) -> np.ndarray:
    stored = labels(*range(12), size=(12, 12))
    put(path, stored)
    return stored


def test_camvid_in_both_layouts_and_orders(tmp_path):
    for split in ("train", "val"):
        put(tmp_path / f"tutorial/{split}/x.png", image(1, (12, 12)))
        camvid_file(tmp_path / f"tutorial/{split}annot/x.png")
        put(tmp_path / f"mirror/images/{split}/x.jpg", image(1, (12, 12)))
        stored = camvid_file(tmp_path / f"mirror/annotations/{split}/x.png")
    for layout in ("tutorial", "mirror"):
        data = CamVid(str(tmp_path / layout), "val")
        found = data[0].label_map
        np.testing.assert_array_equal(found, np.where(stored == 11, IGNORE_INDEX, stored))
        other = CamVid(str(tmp_path / layout), "val", "dilation")
        for label, name in enumerate(data.classes):
            np.testing.assert_array_equal(found == label, other[0].label_map == other.classes.index(name))
    with pytest.raises(DataError, match=r"no CamVid split 'test'.*found train, val"):
        CamVid(str(tmp_path / "mirror"), "test")
    with pytest.raises(DataError, match="no CamVid split 'train'"):
        CamVid(str(tmp_path), "train")


def test_real_camvid(real_data):
    root = real_data("camvid")
    train, val = CamVid(str(root), "train"), CamVid(str(root), "val")
    assert (len(train), len(val)) == (367, 101)
    sample = train[0]
    assert sample.name == "images/train/0001TP_006690.jpg"
    assert sample.image.shape == (360, 480, 3)
    stored = np.asarray(Image.open(root / "annotations/train/0001TP_006690.png"))
    np.testing.assert_array_equal(sample.label_map, np.where(stored == 11, 255, stored))
    assert len(pickle.dumps(train)) < 400_000


def test_real_camvid_class_counts(real_data):
    """Pixels of the validation set, as the data's own description counts them (void: 297,271)."""
    val = CamVid(str(real_data("camvid")), "val")
    counts = sum(np.bincount(val.reader(pair.mask).ravel(), minlength=256) for pair in val.pairs)
    assert counts[[0, 3, 10, 255]].tolist() == [1601620, 5053176, 387010, 297271]


def test_real_membranes(real_data):
    root = real_data("em_membranes")
    options = {"label_values": {0: 0, 255: 1}, "channels": 1}
    assert len(make(root, ["membrane", "cell"], **options)) == 20
    data = make(root, ["membrane", "cell"], split="splits/train.txt", **options)
    assert len(data) == 16
    share = np.mean([(data[i].label_map == 0).mean() for i in range(16)])
    assert 0.168 < share < 0.27
    with pytest.raises(DataError, match="binary mask"):
        make(root, ["membrane", "cell"])[0]


def test_real_sparse_ids(real_data):
    """COCO's category ids 1..200 with gaps, 0 being unlabelled: mapped to 0..K-1 by a table."""
    root = real_data("coco_yolo_mini")
    rows = [line.split(",") for line in (root / "semantic_classes.csv").read_text().splitlines()[2:]]
    table = {0: "ignore", **{int(value): label for label, (value, _) in enumerate(rows)}}
    folders = {"images": "images/val2017", "masks": "semantic/val2017"}
    data = make(root, [name for _, name in rows], label_values=table, **folders)
    assert len(data) == 27
    for index in range(0, 27, 5):
        sample = data[index]
        stored = np.asarray(Image.open(data.pairs[index].mask))
        values = np.array([int(value) for value, _ in rows] + [0])
        np.testing.assert_array_equal(values[np.where(sample.label_map == 255, len(rows), sample.label_map)], stored)
    with pytest.raises(DataError, match="values outside the table"):
        make(root, [name for _, name in rows[:20]], **folders)[0]
