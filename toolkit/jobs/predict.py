"""The job of predicting many pictures: a journal, a lock and shares, so that nothing is lost and nothing is done twice."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.data.images.traits import said_of_pages
from toolkit.engine.interrupt import StopRequest
from toolkit.engine.run_lock import RunLock, lock_folder
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.files import cannot_write
from toolkit.inference.journal import Entry, Journal, JournalFile, read_journal, refuse_others, rows_of
from toolkit.inference.shares import Share
from toolkit.inference.writers.overlay import OverlayWriter
from toolkit.jobs.contact_sheet import write_sheet
from toolkit.jobs.prediction_work import LIMITED, PAGES, PredictionWork
from toolkit.jobs.predictor import Predictor
from toolkit.jobs.restore import Restored
from toolkit.progress import Progress, duration, told

log = logging.getLogger(__name__)
_JOURNALLED = {"batch_size": 1, "threads": None}
"""Options that a resumed job takes from its journal where nobody gives them, and what they are without one."""
Answering = Callable[[PredictionWork, Iterable[range]], Iterator[tuple[int, Entry]]]
_FORECAST_AFTER = 20
"""Pictures of which the time and the bytes that all will take are forecast."""
_FORECAST_FROM = 500
"""Pictures from which on that is worth a line."""
_DISK_AFTER = 3
"""Pictures of which it is seen whether the disk has room for all, however few they are: files of numbers are large."""


def run_prediction(
    checkpoint: str | Path | Restored,
    sources: Sequence[str | Path],
    out: str | Path,
    formats: Sequence[str] | None = None,
    *,
    original_ids: bool = False,
    annotations: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    share: Share | None = None,
    by: Answering = PredictionWork.entries,
    **options: Any,
) -> dict[str, Any]:
    """Predicts on files, folders and globs and writes the results, and a journal of them, under `out`.

    A picture that cannot be read, predicted or written costs nothing else: it is listed, and the others are done. Ctrl-C
    ends the job after the picture it is at; `resume` goes on there, also after a kill. Tables of all pictures are written
    at the end, of a share by `toolkit merge`.

    Args:
        checkpoint: a run folder, a weights file, or a model that is restored already.
        sources: files, folders (searched recursively) and globs.
        out: folder of the results, not inside a folder of pictures; sub-folders as in the sources.
        formats: names of output formats; None writes those that suit what the model predicts.
        original_ids: whether masks, GeoTIFF and GeoJSON hold the values that the training's files had (`label_values`), not
            the model's labels.
        annotations: a COCO file whose image ids entries of COCO results get, by the names of its images.
        resume: whether to do only what the journal in `out` does not call done; failed pictures are tried again.
        overwrite: whether results of other weights or options, or of a job that did not end, may be replaced.
        share: which part of the pictures this process does; None is that of its number under torchrun, else all.
        by: does the work for blocks of pictures, in any order; another than the default hands it to other processes.
        options: how pictures are answered, by the names that `Predictor` has; `batch_size` and `threads` that are left out
            are those of the journal that is gone on with.

    Returns:
        {"images", "written" (files), "failed": [{"file", "reason"}], "images_per_second", "skipped" (done before),
        "journal", "limited" (pictures that reached `limit`, the most detections of an image), "limit",
        "renamed": [{"file", "as"}], "unread" (sentences on pages, files and folders that were left), "formats" (that were
        written), "classes", "original_ids", "no_class" (its number), "drawn_from", "thresholds" (goal, split, fallback and
        {class: threshold or None} of those that were used, or None), "stopped", "done", "share", "chosen" (threads,
        readers, batch and device)}.

    Raises:
        UserError: a bad checkpoint, no pictures, a format that does not suit the model, a folder that cannot be written,
            holds results of other weights, or is being written by another process, a full disk; files written before
            stay.
    """
    part = share or Share.of_launcher() or Share()
    path = Path(out) / part.journal
    there = read_journal(path)
    before = there.header.get("options", {}) if there is not None and resume else {}
    fixed = {name: options.get(name) or before.get(name, otherwise) for name, otherwise in _JOURNALLED.items()}
    predictor = Predictor(checkpoint, **options | fixed)
    if formats is None and before:
        formats = there.header.get("formats") if there is not None else None
    work = PredictionWork(predictor, sources, out, formats, original_ids=original_ids, annotations=annotations)
    header = work.header
    _refuse_mixing(Path(out), part, there, header, resume=resume, overwrite=overwrite)
    lock = _locked(Path(out), part)
    journal = Journal(path, header, part)
    try:
        skipped = _begin(journal, work, there if resume else None)
        done = _predict(work, journal, by)
    finally:
        journal.leave()
        lock.release()
    return _told(work, journal, done, skipped)


class _Done(NamedTuple):
    """What this process did, and what the journal holds of it.

    Args:
        pictures: how many it went through.
        files: how many files it wrote.
        seconds: how long that took.
        stopped: whether it was asked to stop before the end.
        failed: pictures of which nothing was made, and why.
        limited: names of pictures that reached the limit of detections.
        paged: files of several pages, and how many of each were not read.
    """

    pictures: int
    files: int
    seconds: float
    stopped: bool
    failed: list[dict[str, str]]
    limited: list[str]
    paged: list[tuple[Path, int]]


def _begin(journal: Journal, work: PredictionWork, there: JournalFile | None) -> int:
    """Opens the journal: how many pictures are done already."""
    if there is None:
        journal.begin(len(work.pictures))
        return 0
    names = zip(work.pictures.names, work.stems, strict=True)
    done = journal.resume(names, len(work.pictures), work.is_there)
    work.remove_leftovers(journal)
    return done


def _predict(work: PredictionWork, journal: Journal, by: Answering) -> _Done:
    """Predicts what is not done, and writes the files for all pictures."""
    pictures = sum(map(len, work.todo(journal)))
    began, number, files = time.monotonic(), 0, 0
    forecast = _Forecast(work.out, pictures)
    try:
        with StopRequest() as stop, Progress("predict", pictures, "img") as progress:
            work.stopping = lambda: stop.requested
            for number, (place, entry) in enumerate(by(work, work.todo(journal)), 1):
                journal.add(place, entry)
                files += len(entry.files)
                progress.update(number)
                forecast.add(entry)
                if stop.requested:
                    break
    finally:
        if journal.share.of == 1:
            files += _finish(work, journal, quiet=number < pictures)
    seconds = max(time.monotonic() - began, 1e-9)
    outcomes = _outcomes(work, journal)
    if number == pictures:
        journal.close()
    return _Done(number, files, seconds, number < pictures, *outcomes)


def _finish(work: PredictionWork, journal: Journal, *, quiet: bool) -> int:
    """Writes the files for all pictures: how many. quiet: the job ended early, and its reason is what is told."""
    try:
        files = work.outputs.finish(rows_of(journal.entries), whole=not quiet)
        return len(files) + write_sheet(work.out, work.header, work.outputs, journal.entries)
    except UserError:
        if not quiet:
            raise
        return 0


class _Forecast:
    """Says once, when some pictures are done, how long all will take and how much disk, and whether there is room."""

    def __init__(self, out: Path, pictures: int) -> None:
        self.out, self.pictures = out, pictures
        self._done = self._bytes = 0
        self._warned = False
        self._began = time.monotonic()

    def add(self, entry: Entry) -> None:
        """Counts a picture."""
        self._done += 1
        self._bytes += sum(entry.files.values()) + 2 * len(entry.line())  # tables for all say it again
        if self._done not in (_DISK_AFTER, _FORECAST_AFTER):
            return
        left = self.pictures - self._done
        needed = self._bytes / self._done * left
        if self._done == _FORECAST_AFTER and self.pictures >= _FORECAST_FROM:
            seconds = (time.monotonic() - self._began) / self._done * left
            told(f"{self.pictures} pictures: about {duration(seconds)} and {_gigabytes(needed)} of disk to go", log)
        with suppress(OSError):
            free = shutil.disk_usage(self.out).free
            if free < needed and not self._warned:
                self._warned = True
                log.warning(
                    "%s has %s left, and about %s are needed: free space before it is full; --resume then goes on",
                    self.out, _gigabytes(free), _gigabytes(needed),
                )  # fmt: skip


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _refuse_mixing(
    out: Path, share: Share, there: JournalFile | None, header: dict[str, Any], *, resume: bool, overwrite: bool
) -> None:
    """Raises ConfigError when a folder holds what this job would mix with or lose."""
    others = [path for path in _journals(out) if (path.name == "journal.jsonl") != (share.of == 1)]
    if others and not overwrite:
        message = f"holds {others[0].name}, of a job that was divided otherwise"
        remedy = "join its shares with toolkit merge, choose another folder, or start over with --overwrite"
        raise ConfigError(Problem(out, message, remedy))
    if overwrite and not resume:
        return
    if resume and there is None and share.of > 1:  # a scheduler starts and restarts a share by the same line
        told(f"share {share} has no journal in {out} yet: nothing to go on with, it begins", log)
        return
    if resume and there is None:
        message = "holds no journal of a prediction to go on with"
        raise ConfigError(Problem(out / share.journal, message, "leave --resume out"))
    if there is None:
        return
    if resume:
        remedy = "take those weights and options, another folder, or --overwrite without --resume"
        refuse_others(there.path, there.header, header, remedy)
    elif not there.closed and there.entries:
        message = f"is of a job that did not come to its end ({there.entries} pictures)"
        raise ConfigError(Problem(there.path, message, "go on with --resume, or start over with --overwrite"))
    elif there.header["weights"] != header["weights"]:
        message = "tells of results of other weights, which this job would mix with or replace"
        raise ConfigError(Problem(there.path, message, "choose another folder, or replace them with --overwrite"))


def _journals(out: Path) -> list[Path]:
    return sorted(out.glob("journal*.jsonl")) if out.is_dir() else []


def _locked(out: Path, share: Share) -> RunLock:
    """The lock of a share in the folder of results, which is made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    return lock_folder(out, share.lock, "is being written by", "wait for its end or stop it, or choose another --out")


def _told(work: PredictionWork, journal: Journal, done: _Done, skipped: int) -> dict[str, Any]:
    """What `run_prediction` returns."""
    predictor, outputs = work.predictor, work.outputs
    head = predictor.model.head
    overlay = outputs.writers.get("overlay")
    fresh = done.pictures - len(done.failed)
    return {
        "images": len(work.pictures) if journal.share.of == 1 else skipped + done.pictures,
        "written": done.files,
        "failed": done.failed,
        "images_per_second": round(fresh / done.seconds, 3),
        "skipped": skipped,
        "journal": str(journal.path),
        "limited": done.limited,
        "limit": head.max_detections,
        "renamed": work.renamed(),
        "unread": [*said_of_pages(done.paged, "--pages all reads every page"), *work.pictures.notes],
        "formats": outputs.used_for(head.gives) if head.gives else outputs.formats or [],
        "classes": list(predictor.model.classes),
        "original_ids": work.original_ids,
        "no_class": work.no_class,
        "image_ids": work.annotations is not None,
        "drawn_from": overlay.min_score if isinstance(overlay, OverlayWriter) and predictor.points is None else None,
        "thresholds": predictor.points._asdict() if predictor.points is not None else None,
        "stopped": done.stopped,
        "done": fresh,
        "share": str(journal.share),
        "chosen": {
            name: predictor.fixed["options"][name] for name in ("batch_size", "device", "threads", "mirrorings", "scales")
        } | {"workers": predictor.readers},
    }  # fmt: skip


def _outcomes(work: PredictionWork, journal: Journal) -> tuple[list[dict[str, str]], list[str], list[tuple[Path, int]]]:
    """Failures, pictures that reached the limit of detections, and files with pages left, of the whole journal."""
    failed: list[dict[str, str]] = []
    limited: list[str] = []
    paged: list[tuple[Path, int]] = []
    for entry in journal.entries():
        if entry.failed:
            failed.append({"file": _named(work, entry), "reason": entry.failed})
        if LIMITED in entry.notes:
            limited.append(entry.name)
        left = [note.partition(" ")[2] for note in entry.notes if note.startswith(f"{PAGES} ")]
        if left:
            paged.append((_path(work, entry), int(left[0])))
    return failed, limited, paged


def _named(work: PredictionWork, entry: Entry) -> str:
    """The picture as a person finds it: its file, and which page or frame of it."""
    path = _path(work, entry)
    frame = work.pictures[entry.number - 1].frame if entry.number <= len(work.pictures) else None
    if frame is not None:
        return f"{path} (frame {frame.number})"
    name = entry.name.rpartition("/")[2]
    return str(path) if name == path.name else f"{path} ({Path(name).stem.removeprefix(path.stem).strip('_')})"


def _path(work: PredictionWork, entry: Entry) -> Path:
    known = entry.number <= len(work.pictures)
    path = work.pictures[entry.number - 1].path if known else None
    return path if path is not None else Path(entry.name)
