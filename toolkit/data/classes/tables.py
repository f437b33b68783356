"""Class tables: the names and colours of labels 0..K-1, by preset name or as a plain list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.data.classes.imagenet_synsets import SYNSETS
from toolkit.errors import ConfigError, Problem, did_you_mean, shortened
from toolkit.labels import ClassTable, Color, default_palette


def preset_names() -> list[str]:
    """Names of the presets, sorted.

    >>> [name for name in preset_names() if name.startswith("voc")]
    ['voc20', 'voc21']
    """
    return sorted(_PRESETS)


def class_table(classes: str | Sequence[str] | Mapping[str, object], where: str = "") -> ClassTable:
    """The table of a preset, of a list of names (with the default palette), or of a choice of classes (`choice.py`).

    Raises ConfigError for an unknown preset, an empty list, a name given twice and an empty name.
    where: config path for the message.

    >>> class_table("camvid11").names[:3]
    ('Sky', 'Building', 'Pole')
    >>> class_table(["cell", "wall"]).palette
    ((0, 0, 0), (128, 0, 0))
    """
    if isinstance(classes, str):
        if classes not in _PRESETS:
            message = f"no class preset is called '{shortened(classes)}'"
            raise ConfigError(Problem(where, message, did_you_mean(classes, _PRESETS)))
        return _PRESETS[classes]
    names = tuple(name for name in classes if not (isinstance(classes, Mapping) and name == "ignore"))
    problems = []
    if not names:
        problems.append(Problem(where, "the list of classes is empty", "name at least one class"))
    wrong = [name for name in names if not isinstance(name, str) or not name.strip()]
    if wrong:
        problems.append(Problem(where, f"class names must be non-empty text, found {wrong}", "quote them in YAML"))
    twice = sorted({name for name in names if names.count(name) > 1 and isinstance(name, str)})
    if twice:
        problems.append(Problem(where, f"classes named twice: {', '.join(twice)}"))
    if problems:
        raise ConfigError(problems)
    return ClassTable(names, default_palette(len(names)))


# Colours of SegNet's 11-class CamVid (Scripts/camvid12.png of its repository), in its order of classes.
_CAMVID = ClassTable(
    (
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    ),
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip

# The order of Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions" (ICLR 2016), tables 5 and 6, with
# the palette of datasets/camvid.json and datasets/kitti.json in its repository, whose released weights use it.
_DILATION_PALETTE: tuple[Color, ...] = (
    (128, 0, 0), (128, 128, 0), (128, 128, 128), (64, 0, 128), (192, 128, 128), (128, 64, 128), (64, 64, 0),
    (64, 64, 128), (192, 192, 128), (0, 0, 192), (0, 128, 192),
)  # fmt: skip
_CAMVID_DILATION = ClassTable(
    (
        "Building", "Tree", "Sky", "Car", "SignSymbol", "Road", "Pedestrian", "Fence", "Pole", "Pavement", "Bicyclist",
    ),
    _DILATION_PALETTE,
)  # fmt: skip
_KITTI = ClassTable(
    ("Building", "Tree", "Sky", "Car", "Sign", "Road", "Pedestrian", "Fence", "Pole", "Sidewalk", "Cyclist"),
    _DILATION_PALETTE,
)

_VOC20 = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

# The 19 classes that count (trainId 0..18) and their colours, from cityscapesscripts/helpers/labels.py.
_CITYSCAPES = ClassTable(
    (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
        (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
        (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip

# COCO's 80 object classes in the order of their (gappy) category ids.
_COCO80 = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

# The synthetic scenes of `shapes_scene.py`; colours chosen to be told apart by colour-blind readers too (Okabe & Ito).
_SHAPES6 = ClassTable(
    ("circle", "square", "triangle", "ring", "rod", "star"),
    ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167)),
)

_PRESETS = {
    "camvid11": _CAMVID,
    "camvid11_dilation": _CAMVID_DILATION,
    "kitti11": _KITTI,
    "voc20": ClassTable(_VOC20, default_palette(21)[1:]),
    "voc21": ClassTable(("background", *_VOC20), default_palette(21)),
    "cityscapes19": _CITYSCAPES,
    "imagenet1000": ClassTable(SYNSETS, default_palette(len(SYNSETS))),
    "digits": ClassTable(tuple("0123456789"), default_palette(10)),
    "coco80": ClassTable(_COCO80, default_palette(81)[1:]),
    "bccd": ClassTable(("RBC", "WBC", "Platelets"), ((220, 20, 60), (70, 130, 180), (255, 200, 0))),
    "em_membranes": ClassTable(("membrane", "cell"), ((0, 0, 0), (255, 255, 255))),
    "shapes": ClassTable(("background", *_SHAPES6.names), ((64, 64, 64), *_SHAPES6.palette)),
    "shapes_boxes": _SHAPES6,
}
