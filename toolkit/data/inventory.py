"""What a run saw: names, sizes and hashes of its files and annotations, and the class table; and what is otherwise now."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.contracts import Dataset
from toolkit.data.file_hashes import HASH, file_hash
from toolkit.data.formats.pairs import name_in
from toolkit.errors import DataError, Problem, listed, missing_path

VERSION = 1


def inventory(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """A plain table of what the data sets read, hashes still missing; the files are only asked for their sizes.

    {"version", "hash", "complete": False, "splits": {split: {"root", "classes", "count", "samples": [[image, annotation,
    mark]], "files": {path: [bytes, modified, None]}}}}. Paths are relative to the root, or absolute where they lie
    elsewhere. A mark is a hash of what a file that many samples share says of one; "" elsewhere. Data sets that do not
    show their files have a count and no samples.

    Args:
        datasets: data sets by split, as they are trained on and measured.
    """
    splits = {}
    for split, dataset in datasets.items():
        samples = [_sample(dataset, index) for index in range(len(dataset))]
        shown = [row for row in samples if row is not None]
        names = dict.fromkeys(name for image, annotation, _ in shown for name in (annotation, image) if name)
        root = str(dataset.root.absolute())
        files = {name: _status(dataset.root / name) for name in names}
        own = {"root": root, "classes": list(dataset.classes), "count": len(dataset)}
        splits[split] = {**own, "samples": shown, "files": files}
    return {"version": VERSION, "hash": HASH, "complete": False, "splits": splits}


def _sample(dataset: Dataset, index: int) -> list[str] | None:
    paths = [name_in(dataset.root, path) for path in dataset.files(index)]
    if not paths:
        return None
    mark = dataset.annotation_of(index)
    short = hashlib.blake2b(mark, digest_size=8).hexdigest() if mark else ""
    return [paths[0], paths[1] if len(paths) > 1 else "", short]


def _status(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError:
        return [0, 0, None]
    return [status.st_size, status.st_mtime_ns, None]


class Changes(NamedTuple):
    """What is otherwise than a run saw it; names by split.

    Args:
        added: images that the run did not have.
        removed: images that are not there any more.
        moved: {name: "train -> val"} of images that are in another split now.
        images: images whose content is another.
        annotations: images whose annotation is another.
        classes: what is otherwise in the class table, in sentences.
        unsure: files of which the run has no hash, compared by size and time alone.
    """

    added: dict[str, list[str]]
    removed: dict[str, list[str]]
    moved: dict[str, str]
    images: dict[str, list[str]]
    annotations: dict[str, list[str]]
    classes: list[str]
    unsure: int

    def any(self) -> bool:
        """Whether anything is otherwise."""
        lists = (self.added, self.removed, self.images, self.annotations)
        return bool(self.moved or self.classes or any(names for one in lists for names in one.values()))


def read_inventory(run: Path) -> dict[str, Any]:
    """The table in `data.json` of a run folder, or of a weights file's folder. Raises DataError for none, or a damaged one."""
    folder = run if run.is_dir() else run.parent
    path = folder / "data.json"
    if not run.exists():
        raise DataError(missing_path("run folder", run))
    if not path.is_file():
        message = (
            f"no data.json in {folder.absolute()}: no run, or one of an older version, which did not note its data"
        )
        raise DataError(Problem("--against", message))
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for split in table["splits"].values():
            _ = (split["root"], split["classes"], split["count"], split["samples"], split["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(Problem(path, "is damaged: it is not what a training writes")) from None
    return table


def changes(then: Mapping[str, Any], datasets: Mapping[str, Dataset], *, thorough: bool = False) -> Changes:
    """What is otherwise than a run saw it.

    A file of another size is another. One of the same size and time counts as the same, unless `thorough`; one of
    another time is hashed and compared.

    Args:
        then: the table of the run, as `read_inventory` gives it.
        datasets: the data sets as they are now, by split; splits that are not in both are passed over.
        thorough: whether every file is hashed, whatever its time.
    """
    now = inventory(datasets)["splits"]
    both = [split for split in now if split in then["splits"]]
    old, new = ({split: _by_image(table[split]) for split in both} for table in (then["splits"], now))
    homes = [{name: split for split in both for name in table[split]} for table in (old, new)]
    moved = {
        name: f"{homes[0][name]} -> {split}" for name, split in homes[1].items() if homes[0].get(name, split) != split
    }
    added = {split: sorted(set(new[split]) - set(homes[0])) for split in both}
    removed = {split: sorted(set(old[split]) - set(homes[1])) for split in both}
    images: dict[str, list[str]] = {}
    annotations: dict[str, list[str]] = {}
    unsure: Counter[str] = Counter()
    for split in both:
        here, there = then["splits"][split], now[split]
        same = _Same(here, there, unsure, thorough=thorough)
        common = [name for name in new[split] if name in old[split]]
        images[split] = [name for name in common if not same.file(name, name)]
        annotations[split] = [name for name in common if not same.annotation(old[split][name], new[split][name])]
    tables = [sentence for split in both for sentence in _class_changes(split, then["splits"][split], now[split])]
    return Changes(added, removed, moved, images, annotations, list(dict.fromkeys(tables)), len(unsure))


def _by_image(split: Mapping[str, Any]) -> dict[str, list[str]]:
    return {row[0]: row for row in split["samples"]}


class _Same:
    """Compares files of then and now; each is hashed once."""

    def __init__(
        self, then: Mapping[str, Any], now: Mapping[str, Any], unsure: Counter[str], *, thorough: bool
    ) -> None:
        self.then, self.now, self.unsure, self.thorough = then, now, unsure, thorough
        self.known: dict[tuple[str, str], bool] = {}

    def file(self, old: str, new: str) -> bool:
        if (old, new) not in self.known:
            self.known[old, new] = self._compared(old, new)
        return self.known[old, new]

    def _compared(self, old: str, new: str) -> bool:
        was, is_ = self.then["files"].get(old, [0, 0, None]), self.now["files"][new]
        if was[0] != is_[0]:
            return False
        if was[1] == is_[1] and not self.thorough:
            return True
        if was[2] is None:
            self.unsure[old] += 1
            return bool(was[1] == is_[1])
        return bool(was[2] == file_hash(Path(self.now["root"]) / new))

    def annotation(self, old: Sequence[str], new: Sequence[str]) -> bool:
        """By the mark where many samples share a file, else by the file; another name of equal content is the same."""
        if old[2] or new[2]:
            return old[2] == new[2]
        if not old[1] or not new[1]:
            return old[1] == new[1]
        return self.file(old[1], new[1])


def _class_changes(split: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    was, is_ = then["classes"], now["classes"]
    if was == is_:
        return []
    gone, new = [name for name in was if name not in is_], [name for name in is_ if name not in was]
    if not gone and not new:
        return [f"the same {len(is_)} classes in another order: {listed(was, 8)} were, {listed(is_, 8)} are"]
    told = [f"no longer there: {', '.join(gone)}"] * bool(gone) + [f"new: {', '.join(new)}"] * bool(new)
    return [f"{len(was)} classes were, {len(is_)} are; {'; '.join(told)}"]
