"""Decoded pictures kept in memory or in a file, shared by all processes of a training, filled as they are first read.

A place for every file is set aside before anything is kept, so its size can be said first. A file is known by its path,
its size and the time of its last change; one that has changed since is read anew each time, and that is said, as is a full
disk: slower, never wrong. What was kept is looked at once a process, by a checksum, before it is used.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import weakref
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL
import simplejpeg

from toolkit.contracts import Dataset
from toolkit.data.images.read import image_size
from toolkit.data.loading.picture_reader import NothingKept, read_sample
from toolkit.errors import UserError

log = logging.getLogger(__name__)

LEVELS = 4
"""A picture whole, and as its decoder halves it once, twice and three times."""

_PAGE = 4096
_FORM = "1"
"""Changes when the file's layout does."""


class Place(NamedTuple):
    """What is set aside for a file.

    Args:
        path: the file that is decoded.
        kind: how it is read, see `Shelf`.
        room: bytes that its pixels take, halved ones included where they may be wanted.
    """

    path: Path
    kind: str
    room: int


def places_for(datasets: Sequence[Dataset], halved: Sequence[bool]) -> list[Place]:
    """A place for every picture and mask file of data sets; none for what is read in other ways (pages, outlines).

    How files are read is learnt from the first sample of each. datasets: asked for files and sizes. halved: for each
    whether its JPEGs may be wanted halved.
    """
    found: dict[tuple[Path, str], Place] = {}
    for dataset, with_halves in zip(datasets, halved, strict=True):
        for place in _places(dataset, with_halves):
            known = found.get((place.path, place.kind))
            found[place.path, place.kind] = place if known is None or known.room < place.room else known
    return list(found.values())


class _Noting(NothingKept):
    """Notes which files are read, how, and the bytes of a pixel."""

    def __init__(self) -> None:
        self.read: dict[Path, tuple[str, int]] = {}

    def pixels(
        self, path: Path, kind: str, decode: Callable[[], np.ndarray], _halvings: int = 0, _size: object = None
    ) -> np.ndarray:
        made = decode()
        self.read[path] = (kind, made.nbytes // max(1, made.shape[0] * made.shape[1]))
        return made


def _places(dataset: Dataset, with_halves: bool) -> list[Place]:
    if not len(dataset):
        return []
    noting = _Noting()
    with suppress(UserError):  # whoever reads it says what is wrong with it
        read_sample(dataset, 0, noting)
    roles = [noting.read.get(path) for path in dataset.files(0)]
    sizes, places = dataset.image_sizes(), []
    for index in range(len(dataset)):
        files = dataset.files(index)
        known = None if sizes is None or not sizes[index].all() else (int(sizes[index, 0]), int(sizes[index, 1]))
        try:
            height, width = known or image_size(files[0])
        except UserError:
            continue
        for number, path in enumerate(files):
            role = roles[min(number, len(roles) - 1)]
            if role is not None:
                kind, pixel = role
                halves = LEVELS if with_halves and number == 0 and path.suffix.lower() in (".jpg", ".jpeg") else 1
                places.append(Place(path, kind, sum(_level_bytes(height, width, pixel, n) for n in range(halves))))
    return places


def _level_bytes(height: int, width: int, pixel: int, halvings: int) -> int:
    step = 2**halvings
    return -(-height // step) * -(-width // step) * pixel


_ROW = np.dtype([
    ("changed", "<i8"), ("bytes", "<i8"), ("height", "<i4"), ("width", "<i4"), ("channels", "<i4"),
    ("crc", "<u4", LEVELS), ("filled", "u1", LEVELS), ("halvable", "u1"), ("deep", "u1"), ("said", "u1"), ("", "u1", 5),
])  # fmt: skip
"""What is known of a file: its last change (ns) and size in bytes, 0 before it was read; of its pixels (channels 0: a map
without an axis for them); whether they have 16 bits; whether it was told of already."""


class PixelCache:
    """A `Shelf` of decoded files. Forked processes share it; what one keeps all have.

    `places` are those given, `kept` says how many of the first of them fit, `bytes` what all of them take.

    Args:
        places: what is set aside, see `places_for`; those beyond `limit` together are not kept.
        limit: bytes that may be used for pixels.
        file: where they are kept, so that a later training finds them; None: in memory.

    Raises:
        OSError: when the file cannot be made.
    """

    def __init__(self, places: Sequence[Place], limit: int, file: Path | None = None) -> None:
        ends = np.cumsum([place.room for place in places], dtype=np.int64)
        kept = int(np.searchsorted(ends, limit, "right"))
        self.places, self.kept = tuple(places), kept
        self.bytes = int(ends[-1]) if len(ends) else 0
        table = -(-(_ROW.itemsize * (len(places) + 1)) // _PAGE) * _PAGE
        self._starts = np.concatenate([[0], ends]) + table
        self._rows = {(str(place.path), place.kind): row for row, place in enumerate(places[:kept])}
        self._file = _opened(file, table, table + self.bytes)
        weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, table + self.bytes)
        rows = np.frombuffer(self._map, _ROW, len(places) + 1)
        self._table, self._whole = rows[:-1], rows[-1:]  # the last row is of the cache itself
        self._checked: set[tuple[int, int]] = set()
        self._whole["said"] = 0
        if file is not None:
            self._forget_changed()

    @property
    def filled(self) -> int:
        """How many files are kept by now, in one size or several."""
        return int(self._table["filled"].any(1).sum())

    def pixels(
        self,
        path: Path,
        kind: str,
        decode: Callable[[], np.ndarray],
        halvings: int = 0,
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """See `Shelf`.

        Args:
            path: the file that they are of.
            kind: how it is read ("image 3", "labels").
            decode: reads the file and makes its pixels.
            halvings: times that the decoder halves it.
            size: (height, width) of a JPEG that can be decoded halved; None for all other files.
        """
        row = self._rows.get((str(path), kind))
        status = _status(path)
        if row is None or status is None:
            return decode()
        entry = self._table[row]
        if entry["bytes"] and (entry["changed"], entry["bytes"]) != status:
            self._say_once(entry, f"{path} has changed since it was kept: it is read from its file from now on")
            return decode()
        if entry["filled"][halvings]:
            kept = self._kept(row, halvings)
            if kept is not None:
                return kept
            self._say_once(entry, f"what was kept of {path} is damaged: it is read from its file from now on")
            return decode()
        made = decode()
        self._keep(row, halvings, made, size, status)
        return made

    def halvable(self, path: Path, kind: str) -> tuple[int, int] | None:
        """(height, width) of a kept JPEG that a decoder can halve."""
        row = self._rows.get((str(path), kind))
        if row is None or not self._table[row]["halvable"]:
            return None
        entry = self._table[row]
        fresh = (entry["changed"], entry["bytes"]) == _status(path)
        return (int(entry["height"]), int(entry["width"])) if fresh else None

    def _kept(self, row: int, halvings: int) -> np.ndarray | None:
        """Read-only pixels; None when the checksum is another."""
        entry = self._table[row]
        start, shape, dtype = self._outline(row, halvings)
        pixels = np.frombuffer(self._map, dtype, int(np.prod(shape)), start).reshape(shape)
        pixels.flags.writeable = False
        if (row, halvings) not in self._checked:
            if zlib.crc32(pixels.data) != entry["crc"][halvings]:
                return None
            self._checked.add((row, halvings))
        return pixels

    def _outline(self, row: int, halvings: int) -> tuple[int, tuple[int, ...], np.dtype]:
        entry = self._table[row]
        height, width, channels = int(entry["height"]), int(entry["width"]), int(entry["channels"])
        dtype = np.dtype(np.uint16 if entry["deep"] else np.uint8)
        pixel = max(1, channels) * dtype.itemsize
        start = int(self._starts[row]) + sum(_level_bytes(height, width, pixel, level) for level in range(halvings))
        sides = (-(-height // 2**halvings), -(-width // 2**halvings))
        return start, (*sides, channels) if channels else sides, dtype

    def _keep(
        self, row: int, halvings: int, made: np.ndarray, size: tuple[int, int] | None, status: tuple[int, int]
    ) -> None:
        entry = self._table[row]
        if self._whole["said"][0] or made.dtype not in (np.uint8, np.uint16):
            return
        height, width = size if size is not None else made.shape[:2]
        channels = made.shape[2] if made.ndim == 3 else 0
        told = (height, width, channels, made.dtype == np.uint16)
        if entry["bytes"] and told != (entry["height"], entry["width"], entry["channels"], entry["deep"]):
            return
        entry["height"], entry["width"], entry["channels"], entry["deep"] = told
        start, shape, _ = self._outline(row, halvings)
        if shape != made.shape or start + made.nbytes > self._starts[row + 1]:
            return  # larger than it was thought to be
        data = np.ascontiguousarray(made)
        try:
            _write(self._file, data.data, start)
        except OSError as error:
            self._say_once(self._whole, f"no more pictures are kept: {error.strerror}; the others are read from files")
            return
        entry["halvable"] = size is not None
        entry["crc"][halvings] = zlib.crc32(data.data)
        entry["changed"], entry["bytes"] = status
        entry["filled"][halvings] = 1

    def _forget_changed(self) -> None:
        """Lets go of what was kept of files that have changed since, where no other training uses the cache."""
        if not _alone(self._file):
            return
        changed = [
            row for row, place in enumerate(self.places)
            if self._table[row]["bytes"]
            and (self._table[row]["changed"], self._table[row]["bytes"]) != _status(place.path)
        ]  # fmt: skip
        self._table[changed] = np.zeros(1, _ROW)
        self._table["said"] = 0
        if changed:
            log.warning("%d files have changed since they were kept: they are read again", len(changed))

    @staticmethod
    def _say_once(entry: np.ndarray, text: str) -> None:
        if not entry["said"].any():
            entry["said"] = 1
            log.warning(text)


def cache_name(places: Sequence[Place]) -> str:
    """The name of the file for these places: another one for other files, other sizes and other decoders."""
    versions = (cv2.__version__, simplejpeg.__version__, PIL.__version__)
    digest = blake2b(" ".join((_FORM, *versions)).encode(), digest_size=16)
    for place in places:
        digest.update(f"{place.path.absolute()}\0{place.kind}\0{place.room}\n".encode(errors="surrogateescape"))
    return f"{digest.hexdigest()}.pixels"


def _status(path: Path) -> tuple[int, int] | None:
    """Last change in ns and size in bytes; None for a file that is not there, or empty."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size) if status.st_size else None


def _opened(file: Path | None, table: int, total: int) -> int:
    """A descriptor of `total` bytes, of which `table` are there for certain."""
    if file is None:
        if hasattr(os, "memfd_create"):  # Linux: memory that /dev/shm does not limit
            opened = os.memfd_create("pixels")
        else:
            with tempfile.TemporaryFile() as temporary:
                opened = os.dup(temporary.fileno())
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    if os.fstat(opened).st_size != total:
        os.ftruncate(opened, 0)
        _write(opened, bytes(table), 0)
        os.ftruncate(opened, total)
    return opened


def _write(file: int, data: memoryview | bytes, start: int) -> None:
    """All of it, through the system: a full disk is an error here, and the end of the process in a mapping."""
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(file, rest, start)
        rest, start = rest[written:], start + written


def _alone(file: int) -> bool:
    """Whether no other training has the file open; from then on others see that this one has."""
    try:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            return False
        finally:
            fcntl.flock(file, fcntl.LOCK_SH)
    except ImportError:
        return False
