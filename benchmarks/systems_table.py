"""README's table of systems: parameters counted from the configs, numbers from the receipts in benchmarks/receipts/.

python -m benchmarks.systems_table           rewrites the table in README.md, docs/numbers.md and its picture
python -m benchmarks.systems_table --print   shows it
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.numbers_page import interval, write_numbers_page
from benchmarks.receipt import FOLDER, ROOT, config_hash
from toolkit.analysis.trace import is_fixed_kernel
from toolkit.config.load import load_config
from toolkit.jobs.build import build_model

README = ROOT / "README.md"
BEGIN = "<!-- made by `python -m benchmarks.systems_table` from benchmarks/receipts/ -->"
END = "<!-- end of the table -->"

SYSTEMS: dict[str, tuple[str, ...]] = {
    "U-Net, small, from scratch": ("tiny/unet_camvid",),
    "U-Net 2015, valid convolutions": ("unet_em", "tiny/unet_em"),
    "U-Net on EfficientNet-Lite0, ImageNet weights by pip": ("unet_lite_camvid",),
    "U-Net on ResNet-34": ("unet_resnet34_camvid",),
    "SegNet (VGG16, pooling indices)": ("segnet_camvid", "tiny/segnet_camvid"),
    "SegNet-Basic": ("segnet_basic_camvid", "tiny/segnet_basic_camvid"),
    "Bayesian SegNet": ("bayesian_segnet_camvid", "tiny/bayesian_segnet_camvid"),
    "Dilated front end": ("dilated_frontend_voc", "dilated_frontend_camvid", "tiny/dilated_frontend_camvid"),
    "Dilated front end and context": (
        "dilated_context_voc", "dilated_context_camvid", "dilated_context_kitti", "dilated_context_cityscapes",
        "tiny/dilated_camvid",
    ),
    "Faster R-CNN 2015 (VGG16, stride 16)": ("faster_rcnn_vgg16_voc", "tiny/faster_rcnn_vgg16_bccd"),
    "Faster R-CNN, ResNet-50-FPN": ("faster_rcnn_r50_fpn_coco",),
    "Faster R-CNN, ResNet-18-FPN, from scratch": ("faster_rcnn_r18_fpn_bccd",),
    "Faster R-CNN on EfficientNet-Lite0, ImageNet weights by pip": ("faster_rcnn_lite_bccd",),
    "LeNet-5, AlexNet, VGG, GoogLeNet, ResNet, DenseNet, maxout": ("classify/*",),
    "WaveNet, PixelCNN, time-delay net": ("sequences/*",),
}  # fmt: skip
"""What a row is called, and the configs in it; a row of a folder shows the smallest and the largest."""
DATA = {"camvid": "CamVid", "em_membranes": "EM membranes", "bccd": "BCCD"}
"""How data sets are called that a config's `data.root` names otherwise."""
_SAME_EVERYWHERE = ("train.threads=1", "data.workers=0")
"""Words of the commands that the README says once for all."""
BESIDE = ("AP50", "V_rand", "V_info")
"""Numbers that are shown beside the deciding one."""


def table(folder: Path = FOLDER) -> str:
    """The table as Markdown.

    folder: where the receipts are.
    """
    receipts = receipts_in(folder)
    lines = ["| system | config | parameters | measured by us |", "|---|---|---:|---|"]
    for title, names in SYSTEMS.items():
        paths = paths_of(names)
        if names[0].endswith("/*"):
            counts = sorted(map(parameters, paths))
            shown, count = f"[{names[0][:-1]}](configs/{names[0][:-2]})", f"{counts[0]:,} to {counts[-1]:,}"
        else:
            shown = " ".join(f"[{name}](configs/{name}.yaml)" for name in names)
            count = " / ".join(f"{parameters(path):,}" for path in paths)
        named, folder_row = len(paths) > 1, names[0].endswith("/*")
        cells = [
            measured(one, named, command=not folder_row) for path in paths for one in _shown(receipts.values(), path)
        ]
        if folder_row and cells:
            cells.append(
                f"each by `toolkit train configs/{names[0][:-1]}NAME.yaml`, and `data.root=` where its data is"
            )
        lines.append(f"| {title} | {shown} | {count} | {'<br>'.join(cells) or 'not yet trained'} |")
    return "\n".join(lines) + "\n"


def paths_of(names: Sequence[str]) -> list[Path]:
    """The files of a row's configs, whose names may stand for several (`classify/*`)."""
    return [path for name in names for path in sorted((ROOT / "configs").glob(f"{name}.yaml"))]


def receipts_in(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """The receipts of a folder by their names, in the order of these."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def recipe_study() -> Any:
    """What `benchmarks.recipe_study` found, or None."""
    return _result("recipe_study")


def newcomers() -> Any:
    """What `benchmarks.newcomer_detector` found, by the data's name, or None."""
    return _result("newcomer_detector")


def _result(benchmark: str) -> Any:
    path = FOLDER.parent / f"{benchmark}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _shown(receipts: Iterable[Mapping[str, Any]], path: Path) -> list[Mapping[str, Any]]:
    """The best of a config that was run as it is shipped; where there is none, the best of those that were not."""
    own = [one for one in receipts if ROOT / one["config"] == path]
    shipped = [one for one in own if not list(_notes(one, path))] or own
    best = sorted(shipped, key=lambda one: -one["evaluation"]["metrics"][one["evaluation"]["metric"]])
    return best[:1]


def parameters(path: Path) -> int:
    """Number of parameters of a config's net, of frozen layers too, but not kernels that are never learnt (bilinear ones)."""
    config = load_config(path)
    with torch.device("meta"):
        model = build_model(config, pretrained=False)
    fixed = {id(module.weight) for module in model.modules() if is_fixed_kernel(module)}
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in fixed)


def measured(receipt: Mapping[str, Any], named: bool, command: bool = True) -> str:
    """What a receipt says, in one cell: numbers with intervals, what they cost, the command, and what is not as shipped.

    Args:
        receipt: as `benchmarks.receipt` wrote it.
        named: whether the config has to be told, there being several in the row.
        command: whether the command is shown.
    """
    evaluation, path = receipt["evaluation"], ROOT / receipt["config"]
    root = Path(load_config(path).data.root or "").name
    metric = evaluation["metric"]
    beside = [name for name in BESIDE if name in evaluation["metrics"] and name != metric]
    numbers = ", ".join(_number(evaluation, name, bold=name == metric) for name in (metric, *beside))
    which = f"{path.relative_to(ROOT / 'configs').with_suffix('') if command else path.stem}: " if named else ""
    notes = list(_notes(receipt, path))
    minutes = receipt["processor_minutes"] or 0.0
    cost = (
        f"{minutes:.0f} processor minutes"
        if minutes >= 1
        else f"{60 * minutes:.0f} processor seconds"
        if minutes
        else ""
    )
    cost += f", {receipt['images_seen']:,} images seen" if receipt["images_seen"] else ""
    told = "; ".join([f"{which}{DATA.get(root, root)} {evaluation['split']} {numbers}", *filter(None, [cost]), *notes])
    words = (word for word in receipt["command"].split() if not word.startswith(_SAME_EVERYWHERE))
    return f"{told}: `{' '.join(words)}`" if command else told


def _number(evaluation: Mapping[str, Any], name: str, *, bold: bool) -> str:
    scale = 100 if evaluation["percent"] else 1
    value = f"{scale * evaluation['metrics'][name]:.2f}"
    text = f"{name} **{value}**" if bold else f"{name} {value}"
    ends = interval(evaluation, name)
    return f"{text} ({ends})" if ends else text


def _notes(receipt: Mapping[str, Any], path: Path) -> Iterator[str]:
    if receipt["departures"]:
        yield "not as shipped: " + ", ".join(receipt["departures"])
    if receipt["config_sha256"] != config_hash(path):
        yield "the config has changed since"


def rewritten(readme: str, made: str) -> str:
    """The README with the table in its place, between the two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"README.md lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--print", action="store_true", dest="shown", help="write it to standard output, change no file"
    )
    given = parser.parse_args(arguments)
    if given.shown:
        print(table(), end="")
    else:
        README.write_text(rewritten(README.read_text(encoding="utf-8"), table()), encoding="utf-8")
        write_numbers_page(receipts_in(), recipe_study(), newcomers(), ROOT / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
