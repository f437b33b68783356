"""The whole job of predicting pictures: restore, stream, write; what cannot be done is listed, the rest is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.data.images.pictures import find_pictures
from toolkit.engine.process import keep_freed_memory, pick_device
from toolkit.errors import ConfigError, Problem
from toolkit.files import cannot_write
from toolkit.inference.folder import predict
from toolkit.inference.tiling.tiled import TileSide
from toolkit.inference.writers.base import output_stems
from toolkit.inference.writers.outputs import Outputs
from toolkit.jobs.restore import Restored, restore
from toolkit.progress import Progress


def run_prediction(
    checkpoint: str | Path | Restored,
    sources: Sequence[str | Path],
    out: str | Path,
    formats: Sequence[str] | None = None,
    *,
    batch_size: int = 1,
    device: str = "auto",
    tile: TileSide | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Predicts on files, folders and globs and writes the results under `out`.

    tile: side of a tile in pixels, or "auto", for pictures too large to be shown to the net whole; see
    `TiledPrediction`. Returns {"images", "written", "failed": [{"file", "reason"}], "images_per_second"}. Raises
    UserError for a bad checkpoint, no pictures, or a folder that cannot be written; files written before stay.
    """
    pictures = find_pictures(sources)
    _refuse_inside(Path(out), sources)
    restored = checkpoint if isinstance(checkpoint, Restored) else restore(checkpoint, trust_code=trust_code)
    model = restored.model.to(pick_device(device))
    keep_freed_memory()
    folder = Path(out)
    inputs = [picture.path for picture in pictures if picture.path is not None]
    outputs = Outputs(folder, formats, model.classes, model.palette, inputs, restored.model.category_ids or None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    stems = output_stems([picture.name for picture in pictures])
    failed, written = [], 0
    began = time.monotonic()
    with Progress("predict", len(pictures), "img") as progress:
        results = predict(model, pictures, batch_size=batch_size, tile=tile)
        for number, (stem, result) in enumerate(zip(stems, results, strict=True), 1):
            if result.prediction is None or result.image is None:
                failed.append({"file": str(result.path), "reason": result.reason})
            else:
                written += len(outputs.add(stem, result.image, result.prediction))
            progress.update(number)
    written += len(outputs.finish())
    seconds = max(time.monotonic() - began, 1e-9)
    rate = round((len(pictures) - len(failed)) / seconds, 3)
    return {"images": len(pictures), "written": written, "failed": failed, "images_per_second": rate}


def _refuse_inside(out: Path, sources: Sequence[str | Path]) -> None:
    """Results never go into a folder of pictures: the next run, or the next training, would take them for pictures."""
    place = out.resolve()
    for source in map(Path, sources):
        if source.is_dir() and source.resolve() in (place, *place.parents):
            raise ConfigError(
                Problem("--out", f"{out} lies in the folder of the pictures, {source}", "choose another folder")
            )
