"""`run.py` beside an export: the same answers without this package, to be read, copied and changed."""

from __future__ import annotations

from pathlib import Path

from toolkit.files import replacing
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Detections

_HEAD = '''"""Answers of {name} for pictures: python run.py PICTURE...   (pip install {packages} numpy pillow)"""

import json
import sys
from pathlib import Path

import numpy as np
{modules}
from PIL import Image, ImageOps

'''

_LOAD = {
    "onnx": '''
def load(path):
    """The program, as a function of pictures, and what it says of itself."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    notes = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    names = [one.name for one in session.get_outputs()]
    first, *more = [one.name for one in session.get_inputs()]
    def run(given):
        return dict(zip(names, session.run(names, {first: given, **dict.fromkeys(more, sizes(given))})))
    return run, notes
''',
    "openvino": '''
def load(path):
    """The program, as a function of pictures, and what it says of itself."""
    core = openvino.Core()
    model = core.read_model(str(path))
    notes = json.loads(model.get_rt_info(["toolkit"]).astype(str))
    names = [one.get_any_name() for one in model.outputs]
    made = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    def run(given):
        more = [sizes(given)] * (len(made.inputs) - 1)
        return dict(zip(names, made([given, *more]).to_tuple()))
    return run, notes
''',
    "torch": '''
def load(path):
    """The program, as a function of pictures, and what it says of itself."""
    texts = {"toolkit.json": ""}
    program = torch.export.load(str(path), extra_files=texts).module()
    notes = json.loads(texts["toolkit.json"])
    def run(given):
        with torch.no_grad():
            more = [torch.from_numpy(sizes(given)) for _ in notes["export"]["more_inputs"]]
            found = program(torch.from_numpy(given), *more)
        return {name: value.numpy() for name, value in zip(notes["export"]["outputs"], found)}
    return run, notes
''',
}  # fmt: skip

_OPENED = "ImageOps.exif_transpose(Image.open(path))"
_GRAY = '''
def gray(path):
    """A picture, upright; colours as luma: a JPEG's own, else weighed as libpng and OpenCV do, to the bit."""
    picture = Image.open(path)
    picture.draft("L", picture.size)
    weights, half = ([9797, 19234, 3737], 0) if picture.format == "PNG" else ([9798, 19235, 3735], 16384)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode not in ("RGB", "RGBA", "P"):
        return picture
    return Image.fromarray((np.asarray(picture.convert("RGB")) @ np.array(weights) + half >> 15).astype(np.uint8))

'''
_READ = '''
def sizes(pictures):
    """Height and width of each picture, for programs that ask (detectors)."""
    return np.array([pictures.shape[1:3]] * len(pictures), np.int64)


def read(path, notes):
    """A picture, upright, as the program takes it: (1, height, width, channels) uint8."""
    wanted = notes["export"]["input"]
    picture = {opened}
    if not notes["value_range"]:
        picture = picture.convert("L" if wanted["channels"] == 1 else "RGB")
    if not notes["export"]["raw"] and wanted["height"] and picture.size != (wanted["width"], wanted["height"]):
        picture = picture.resize((wanted["width"], wanted["height"]))
    pixels = np.asarray(picture).reshape(1, picture.height, picture.width, -1)
    if notes["value_range"]:  # deeper pictures: these numbers become 0 and 255
        low, high = np.array(notes["value_range"], float).reshape(-1, 2).T
        pixels = np.rint(np.clip((pixels - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return as_pixels(pixels, notes) if notes["export"]["raw"] else np.array(pixels)


def as_pixels(pictures, notes):
    """What a raw program takes: mirrored up to a legal size, normalised, (1, channels, height, width) float32."""
    stats, border, (least, step, rest) = notes["pixel_stats"], notes["export"]["border"], notes["export"]["sizes"]
    around = [max(side + 2 * border, least) for side in pictures.shape[1:3]]
    more = [n + (rest - n) % step - side - border for n, side in zip(around, pictures.shape[1:3])]
    whole = np.pad(pictures, [(0, 0), (border, more[0]), (border, more[1]), (0, 0)], mode="reflect")
    whole = whole[..., ::-1] if stats["bgr"] else whole
    mean, std = (np.array(stats[name], np.float32) for name in ("mean", "std"))
    return np.ascontiguousarray((whole * (1 / std / 255) - mean / std).transpose(0, 3, 1, 2), dtype=np.float32)


def told(found, notes):
    """The answer for one picture in a few words."""
    names, scores = notes["classes"], found.get("scores", [None])[0]
    if "boxes" in found:
        rows = zip(found["boxes"][0].tolist(), found["labels"][0].tolist(), scores.tolist())
        return [{"class": names[label], "score": score, "box": box} for box, label, score in rows if label >= 0]
    if "labels" in found and found["labels"].ndim == 3:
        counts = np.bincount(found["labels"].ravel(), minlength=256) / found["labels"].size
        return {(names[label] if label < len(names) else "no class"): float(counts[label]) for label in counts.nonzero()[0]}
    return {name: float(value) for name, value in zip(names, scores if scores is not None else found["values"][0].ravel())}


if __name__ == "__main__":
    program, notes = load(Path(__file__).with_name(FILE))
    for path in map(Path, sys.argv[1:]):
        found = program(read(path, notes))
        print(json.dumps({"picture": str(path), "answer": told(found, notes)}) if not notes["export"]["raw"] else path)
        if "labels" in found and found["labels"].ndim == 3:
            Image.fromarray(found["labels"][0]).save(f"{path.stem}_labels.png")  # the labels, in the working folder
        np.savez(f"{path.stem}_answers.npz", **found) if "--arrays" in sys.argv else None
'''
PACKAGES = {"onnx": ("onnxruntime", "onnxruntime"), "openvino": ("openvino", "openvino"), "torch": ("torch", "torch")}
"""The module that a format's runner imports, and the package it is in."""


def runner_of(name: str, target: str, *, detects: bool = False, gray: bool = False) -> str:
    """The text of `run.py` for a file.

    Args:
        name: of the file, beside the runner.
        target: what the file is of: onnx, openvino or torch.
        detects: whether it answers with boxes; PyTorch runs it with torchvision's operators.
        gray: whether it takes pictures of one channel, of which coloured ones become gray.
    """
    module, package = PACKAGES[target]
    modules, packages = f"import {module}", package
    if detects and target == "torch":
        modules, packages = (
            f"{modules}\nimport torchvision  # whose operators the program uses",
            f"{packages} torchvision",
        )
    head = _HEAD.format(name=name, packages=packages, modules=modules)
    read = _READ.replace("{opened}", "gray(path)" if gray else _OPENED)
    return head + f"FILE = {name!r}\n\n" + _LOAD[target] + (_GRAY if gray else "") + read


def write_runner(path: Path, target: str, model: VisionModel) -> Path:
    """Writes `run.py` beside an exported file. Raises UserError when the disk refuses.

    Args:
        path: the exported file, whose name the runner holds.
        target: what the file is of: onnx, openvino or torch.
        model: the model that it is of.
    """
    runner = path.with_name("run.py")
    gray = model.in_channels == 1 and model.value_range is None
    with replacing(runner) as part:
        text = runner_of(path.name, target, detects=model.head.gives is Detections, gray=gray)
        part.write_text(text, encoding="utf-8")
    return runner
