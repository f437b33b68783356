"""What a prediction job is to do, in a form that other processes can do a part of: pictures in, files and journal entries out."""

from __future__ import annotations

import errno
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolkit.data.images.pages import bands_of_pages, places_of
from toolkit.data.images.picture import Picture
from toolkit.data.images.rasters import rasterio_or_refuse
from toolkit.data.images.videos import Frame
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.inference.folder import ImageResult, reason_of
from toolkit.inference.journal import Entry, Journal, source_of
from toolkit.inference.shares import blocks
from toolkit.inference.tiling.tiled import TiledPrediction
from toolkit.inference.writers.detections import CocoWriter
from toolkit.inference.writers.geotiff import GeotiffWriter
from toolkit.inference.writers.outputs import WRITERS, Outputs, Written, stems_of
from toolkit.inference.writers.overlay import OverlayWriter
from toolkit.inference.writers.polygons import GeojsonWriter, may_lie_on_a_map
from toolkit.inference.writers.uncertainty import refuse_one_pass
from toolkit.inference.writers.value_maps import ValuesPngWriter
from toolkit.inference.writers.video import VIDEO_FILES, VideoWriter
from toolkit.jobs.original_ids import image_ids_of, original_ids, scale_of_values
from toolkit.jobs.predict_raster import StoppedError, answer_by_window, tiles_of
from toolkit.jobs.predictor import Predictor
from toolkit.labels import IGNORE_INDEX
from toolkit.samples import Detections, LabelMap
from toolkit.version import __version__

_LOG = logging.getLogger(__name__)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
LIMITED, PAGES = "limited", "pages"
"""Notes of entries: the limit of detections was reached; so many pages of the file were not read ("pages 4")."""
_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")


class PredictionWork:
    """Pictures, the model for them, and where results go. It can be pickled; what it makes of that, it makes anew.

    Args:
        predictor: the model with all that decides its answers.
        sources: files, folders (searched recursively) and globs.
        out: folder of the results, not inside a folder of pictures; sub-folders as in the sources.
        formats: names of output formats; None writes those that suit what the model predicts.
        original_ids: whether masks, GeoTIFF and GeoJSON hold the values that the training's files had, and not the model's
            labels.
        annotations: a COCO file whose image ids entries of COCO results get, by the names of its images.

    Raises:
        ConfigError: `out` lies in a folder of pictures, or a format is unknown.
        DataError: a source that does not exist, or holds no picture.
    """

    def __init__(
        self,
        predictor: Predictor,
        sources: Sequence[str | Path],
        out: str | Path,
        formats: Sequence[str] | None = None,
        *,
        original_ids: bool = False,
        annotations: str | Path | None = None,
    ) -> None:
        self.predictor, self.out = predictor, Path(out)
        self.formats, self.original_ids, self.annotations = formats, original_ids, annotations
        self.pictures = predictor.pictures(sources)
        _refuse_inside(self.out, sources)
        self.stems = stems_of(list(self.pictures.names))
        self.stopping: Callable[[], bool] = _never
        """Whether somebody asked the job to stop: looked at between the tiles of a picture that is read by window."""

    @cached_property
    def outputs(self) -> Outputs:
        """The writers. Raises ConfigError for formats that do not suit the model, before the first picture."""
        model, points = self.predictor.model, self.predictor.points
        outputs = Outputs(self.out, self.formats, model.classes, model.palette, self._inputs, model.category_ids)
        if model.head.gives is not None:
            outputs.refuse_unfitting(model.head.gives)
            self.predictor.ask(outputs.needs_for(model.head.gives))
        used = outputs.used_for(model.head.gives) if model.head.gives else []
        if model.samples == 1 and (unsampled := [name for name in used if outputs.writers[name].of_samples]):
            raise refuse_one_pass(unsampled)
        coco = outputs.writers.get("coco")
        if self.original_ids:
            numbering = [name for name, writer in WRITERS.items() if writer.numbers_classes]
            _refuse_without("--original-ids", numbering, used)
            values = original_ids(self.predictor.restored)
            for name in numbering:
                if name in outputs.writers:
                    outputs.writers[name].values = values
        video = outputs.writers.get("video")
        if "video" in used and isinstance(video, VideoWriter):
            video.frames = self._frames()
        png = outputs.writers.get("values_png")
        if isinstance(png, ValuesPngWriter):
            png.scale = scale_of_values(self.predictor.restored) or png.scale
        geotiff = outputs.writers.get("geotiff")
        geojson = outputs.writers.get("geojson")
        if isinstance(geojson, GeojsonWriter):
            geojson.sources = _Sources(self)
        if isinstance(geotiff, GeotiffWriter) and "geotiff" in used:
            rasterio_or_refuse()
            geotiff.sources = _Sources(self)
        if self._by_window(used):
            self._tiled.refuse_too_small()  # and what cannot be done by window
        else:
            self.predictor.refuse_unfit()
        if self.annotations is not None:
            _refuse_without("--annotations", ["coco"], used)
        if self.annotations is not None and isinstance(coco, CocoWriter):
            names = [*self.pictures.names]
            ids = image_ids_of(self.annotations, names, [picture.path for picture in self.pictures])
            coco.image_ids = {stem: ids[name] for stem, name in zip(self.stems, names, strict=True)}
        score = points.values(model.classes) if points is not None else self.predictor.score
        overlay = outputs.writers.get("overlay")
        if score is not None and isinstance(overlay, OverlayWriter):
            overlay.min_score = score
        return outputs

    @property
    def header(self) -> dict[str, Any]:
        """The journal's header: what all results of one folder must share."""
        gives = self.predictor.model.head.gives
        formats = self.outputs.used_for(gives) if gives else self.outputs.formats
        fixed = self.predictor.fixed
        named = {"original_ids": self.original_ids, "image_ids": self.annotations is not None}
        return {"toolkit": __version__, **fixed, "options": fixed["options"] | named, "formats": formats}

    @property
    def no_class(self) -> int:
        """The number that files have for pixels of no class."""
        values = [writer.values for writer in self.outputs.writers.values() if writer.values is not None]
        return int(values[0][IGNORE_INDEX]) if values else IGNORE_INDEX

    def entries(self, todo: Iterable[range]) -> Iterator[tuple[int, Entry]]:
        """Predicts blocks of pictures and writes their files: places in the listing, and what the journal holds of them.

        todo: places of the pictures of each block (`inference/shares.py`). Raises UserError for a full disk; a picture
        that cannot be read, predicted or written costs nothing else and is an entry that says why.
        """
        if self.by_window:
            for block in todo:
                for place in block:
                    entry = self._entry_by_window(place)
                    if entry is None:
                        return
                    yield place, entry
            return
        places: deque[int] = deque()

        def pictures() -> Iterator[Iterator[Any]]:
            for block in todo:
                places.extend(block)
                yield (self.pictures[place] for place in block)

        with closing(self.predictor.of_blocks(pictures())) as results:  # type: ignore[type-var]
            for result in results:
                place = places.popleft()
                yield place, self._entry(place, result)

    @property
    def by_window(self) -> bool:
        """Whether pictures are read and written by window: where no format wants a whole one."""
        gives = self.predictor.model.head.gives
        return gives is not None and self._by_window(self.outputs.used_for(gives))

    def _by_window(self, used: Sequence[str]) -> bool:
        if set(used) == {"geojson"}:
            return self._of_rasters
        return "geotiff" in used and set(used) <= {"geotiff", "geojson"}

    @cached_property
    def _of_rasters(self) -> bool:
        """Whether all pictures are of a kind that is larger than memory now and then, and the model can be shown windows."""
        model, sizes = self.predictor.model, self.predictor.looks[1]
        able = model.head.gives is LabelMap and not model.transforms and len(sizes) == 1
        if not able or find_spec("rasterio") is None:
            return False
        return all(
            picture.path is not None and may_lie_on_a_map(picture.path) and picture.page in (None, 0)
            for picture in self.pictures
        )

    def _entry_by_window(self, place: int) -> Entry | None:
        """One picture's GeoTIFF or polygons, and what the journal says; None when the job is asked to stop on the way."""
        picture, stem = self.pictures[place], self.stems[place]
        written, reason = Written([], {}), ""
        raster, polygons = (self.outputs.writers.get(name) for name in ("geotiff", "geojson"))
        writer = raster or polygons
        if not isinstance(writer, GeotiffWriter | GeojsonWriter):
            raise TypeError("by window a GeoTIFF or polygons are written")
        try:
            self.outputs.refuse_replacing(writer.path_of(stem))
            answer_by_window(self.predictor, self._tiled, picture, writer, stem, self.stopping)
            written = Written([writer.path_of(stem)], {})
            if isinstance(polygons, GeojsonWriter) and raster is not None:
                self.outputs.refuse_replacing(polygons.path_of(stem))
                written.files.extend(polygons.add_of_file(stem, raster.path_of(stem)))
        except ConfigError:
            raise
        except StoppedError:
            return None
        except UserError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL_DISK:
                raise
            reason = reason_of(error)
        files = {path.relative_to(self.out).as_posix(): path.stat().st_size for path in written.files}
        notes = self._pages_left(picture)
        return Entry(place + 1, picture.name, stem, source_of(picture.path), files, written.rows, notes, reason)

    def _pages_left(self, picture: Picture) -> tuple[str, ...]:
        """The note on pages of a file that is read by window, of which only the first is."""
        if picture.path is None or picture.page is not None:
            return ()
        model = self.predictor.model
        left = len(places_of(picture.path, bands_of_pages(model.in_channels, model.value_range))) - 1
        return (f"{PAGES} {left}",) if left else ()

    @cached_property
    def _tiled(self) -> TiledPrediction:
        return tiles_of(self.predictor)

    def is_there(self, entry: Entry) -> bool:
        """Whether the files of an entry are there in full, and its picture is still the one that they were made of."""
        if any(_size(self.out / name) != size for name, size in entry.files.items()):
            return False
        return source_of(self.pictures[entry.number - 1].path) == entry.source

    def todo(self, journal: Journal) -> Iterator[range]:
        """The blocks of the journal's share that have a picture which is not done."""
        every = blocks(len(self.pictures), self.predictor.batch_size, journal.share)
        if not journal.has_entries:
            yield from every
            return
        for block in every:
            if not all(map(journal.is_done, block)):
                yield block

    def remove_leftovers(self, journal: Journal) -> None:
        """Removes what a kill left half written of the share's pictures, and of files for all pictures."""
        ours = {".".join(("", journal.path.name)), *(f".{name}" for kind in WRITERS.values() for name in kind.files)}
        found = [path for path in self.out.rglob(".*.tmp") if _TEMPORARY.fullmatch(path.name)]
        if not found:
            return
        names = set()
        if journal.share.of == 1:  # a kill may come when all pictures are done, and their files for all are not
            folders = {stem.rpartition("/")[0] for stem in self.stems}
            names |= {self.out / folder / name for folder in folders for name in VIDEO_FILES}
        for block in self.todo(journal):
            for place in block:
                for kind in WRITERS.values():
                    path = self.out / f"{self.stems[place]}{kind.suffix}"
                    short = blake2b(str(path.name).encode(errors="surrogateescape"), digest_size=8).hexdigest()
                    names |= {path, path.with_name(short)}
        for path in found:
            aim = _TEMPORARY.fullmatch(path.name)
            name = aim[1] if aim else ""
            if path.with_name(name) in names or (path.parent == self.out and f".{name}" in ours):
                if name.endswith(GeotiffWriter.suffix):
                    _LOG.warning("%s was not finished: the part of it is removed, and it is begun anew", name)
                path.unlink(missing_ok=True)

    def renamed(self) -> list[dict[str, str]]:
        """Pictures whose results are not called after them alone."""
        pairs = zip(self.pictures.names, self.stems, strict=True)
        return [{"file": name, "as": stem} for name, stem in pairs if stem != name.rpartition(".")[0]]

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process."""
        made = ("outputs", "_tiled")
        return {name: value for name, value in vars(self).items() if name not in made} | {"stopping": _never}

    def _entry(self, place: int, result: ImageResult) -> Entry:
        """One picture's files, and what the journal says of it."""
        stem = self.stems[place]
        written, reason = Written([], {}), result.reason
        if result.prediction is not None and result.image is not None:
            written, reason = self._written(stem, result)
        files = {path.relative_to(self.out).as_posix(): path.stat().st_size for path in written.files}
        source = source_of(result.path)
        return Entry(place + 1, result.name, stem, source, files, written.rows, self._notes(result), reason)

    def _written(self, stem: str, result: ImageResult) -> tuple[Written, str]:
        """The files of one picture, or why there are none."""
        try:
            return self.outputs.add(stem, result.image, result.prediction), ""  # type: ignore[arg-type]
        except ConfigError:
            raise
        except UserError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL_DISK:
                raise
            return Written([], {}), "; ".join(str(problem) for problem in error.problems)

    def _notes(self, result: ImageResult) -> tuple[str, ...]:
        limit, found = self.predictor.model.head.max_detections, result.prediction
        notes = []
        if limit is not None and isinstance(found, Detections) and len(found.boxes) >= limit:
            notes.append(LIMITED)
        if result.left:
            notes.append(f"{PAGES} {result.left}")
        return tuple(notes)

    def _frames(self) -> dict[str, Frame]:
        """The frame of each stem. Raises ConfigError where none of the pictures is one."""
        pairs = zip(self.stems, self.pictures, strict=True)
        frames = {stem: picture.frame for stem, picture in pairs if picture.frame is not None}
        if not frames:
            message = "is made of the frames of a video, and none is among the pictures"
            raise ConfigError(
                Problem("--format video", message, "name the file of a video; those in folders are not read")
            )
        return frames

    def _inputs(self) -> Iterable[Path]:
        return (picture.path for picture in self.pictures if picture.path is not None)


def _never() -> bool:
    return False


class _Sources(Mapping[str, Path]):
    """The files of a job's pictures by their stems, made when the first is asked for."""

    def __init__(self, work: PredictionWork) -> None:
        self._work = work

    @cached_property
    def _places(self) -> dict[str, int]:
        return {stem: place for place, stem in enumerate(self._work.stems)}

    def __getitem__(self, stem: str) -> Path:
        path = self._work.pictures[self._places[stem]].path
        if path is None:
            raise KeyError(stem)
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _refuse_without(option: str, wanted: Sequence[str], used: Sequence[str]) -> None:
    """Raises ConfigError for an option of formats of which none is written."""
    if set(wanted).isdisjoint(used):
        formats = f"the format '{wanted[0]}'" if len(wanted) == 1 else f"the formats {', '.join(wanted)}"
        message = f"is of {formats}, and what is written is {', '.join(used) or 'nothing'}"
        raise ConfigError(Problem(option, message, f"add {' or '.join(wanted)} to --format, or leave {option} out"))


def _refuse_inside(out: Path, sources: Sequence[str | Path]) -> None:
    """Results never go into a folder of pictures: the next run, or the next training, would take them for pictures."""
    place = out.resolve()
    for source in map(Path, sources):
        if source.is_dir() and source.resolve() in (place, *place.parents):
            raise ConfigError(
                Problem("--out", f"{out} lies in the folder of the pictures, {source}", "choose another folder")
            )
