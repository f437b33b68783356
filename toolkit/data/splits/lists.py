"""Lists of the images of each split: `train.txt`, `val.txt`, `test.txt` in a folder, or a CSV file with a column for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.data.formats.name_lists import match_lines, read_lines
from toolkit.data.splits.groups import read_table
from toolkit.data.splits.names import image_finder
from toolkit.errors import DataError, Problem, listed, missing_path
from toolkit.files import replacing

SPLITS = ("train", "val", "test")
SplitNames = Mapping[str, Sequence[str]]
"""Names of the images of each split, relative to the data set's root."""

_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
_WORDS |= {"test": "test", "testing": "test"}
_SPLIT_COLUMNS = ("split", "set", "subset", "partition", "phase")
_IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "name", "path", "image_name", "image_path")
_SHOWN = 5


def write_lists(folder: Path, names: SplitNames) -> list[Path]:
    """Writes a list a split, one name a line, and `splits.csv` with both; the files that were written.

    Args:
        folder: where the lists go; it is made when it is missing.
        names: names of the images by split, in the order in which they are to stand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{split}.txt": "".join(f"{name}\n" for name in own) for split, own in names.items()}
    rows = [f"{_quoted(name)},{split}\n" for split, own in names.items() for name in own]
    texts["splits.csv"] = "".join(["image,split\n", *rows])
    for name, text in texts.items():
        with replacing(folder / name) as part:
            part.write_text(text, encoding="utf-8", errors="surrogateescape")
    return [folder / name for name in texts]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(sign in name for sign in ',"\n') else name


def read_lists(path: Path) -> dict[str, list[str]]:
    """The lines of each split, as they stand in a folder of lists or in a CSV file with a split column.

    Raises DataError when the path is missing, holds no list, or has a word for a split that is none.
    """
    if path.is_dir():
        found = {split: path / f"{split}.txt" for split in SPLITS if (path / f"{split}.txt").is_file()}
        if not found:
            raise DataError(Problem(path, "holds no train.txt, val.txt or test.txt"))
        return {split: read_lines(file) if file.stat().st_size else [] for split, file in found.items()}
    if not path.exists():
        raise DataError(missing_path("CSV file or folder of lists", path))
    return _from_csv(path)


def _from_csv(path: Path) -> dict[str, list[str]]:
    rows = read_table(path, "table of splits")
    header = [cell.lower() for cell in rows[0]]
    split_column = next((header.index(word) for word in _SPLIT_COLUMNS if word in header), None)
    if split_column is None:
        if rows[0][1].lower() not in _WORDS:
            message = f"has no column 'split'; its first row is {', '.join(rows[0])}"
            raise DataError(Problem(path, message, "name the columns in the first row: image,split"))
        image_column, split_column = 0, 1
    else:
        rows = rows[1:]
        first_other = 0 if split_column else 1
        image_column = next((header.index(word) for word in _IMAGE_COLUMNS if word in header), first_other)
    found: dict[str, list[str]] = {}
    wrong: Counter[str] = Counter()
    for row in rows:
        word = row[split_column].lower() if split_column < len(row) else ""
        if word in _WORDS:
            found.setdefault(_WORDS[word], []).append(row[image_column])
        else:
            wrong[word] += 1
    if wrong:
        words = listed((f"'{word}' ({count} rows)" for word, count in wrong.items()), _SHOWN)
        raise DataError(Problem(path, f"says {words} for a split", "wanted train, val or test"))
    return {split: found[split] for split in SPLITS if split in found}


def positions(lists: SplitNames, names: Sequence[str], where: Path) -> tuple[dict[str, list[int]], list[str]]:
    """Where the images of each split stand in a data set, ascending; and sentences about what is left out.

    Args:
        lists: what each split's list says, as `read_lists` gives it.
        names: paths of the data set's images relative to its root.
        where: the file or folder of the lists, for messages.

    Raises:
        DataError: for lines that name no image, and images that are in two splits.
    """
    find = image_finder(names)
    found: dict[str, list[int]] = {}
    problems, notes = [], []
    owner: dict[int, str] = {}
    for split, lines in lists.items():
        matched = match_lines(where, lines, find)
        notes += matched.notes
        if matched.unknown:
            message = f"{len(matched.unknown)} lines of '{split}' name no image: {listed(matched.unknown, _SHOWN)}"
            problems.append(Problem(where, message, f"wanted names such as {names[0]}" if names else ""))
        own = sorted({entry.found for entry in matched.entries})
        both = [place for place in own if place in owner]
        if both:
            shown = listed((names[place] for place in both), _SHOWN)
            message = f"{len(both)} images are in '{split}' and in '{owner[both[0]]}': {shown}"
            problems.append(Problem(where, message, "an image belongs to one split"))
        owner |= dict.fromkeys(own, split)
        found[split] = own
    if problems:
        raise DataError(problems)
    left = [name for place, name in enumerate(names) if place not in owner]
    if left:
        notes.append(f"{where}: {len(left)} images are in no list and left out: {listed(left, _SHOWN)}")
    return found, notes
