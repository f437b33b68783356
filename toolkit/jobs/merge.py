"""The shares of a prediction job joined: one journal, one file for all pictures, as one process would have left them."""

from __future__ import annotations

import os
import shutil
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.engine.run_lock import lock_folder
from toolkit.errors import ConfigError, Problem, missing_path
from toolkit.files import cannot_write, replacing
from toolkit.inference.journal import Entry, JournalFile, read_journal, refuse_others, rows_of, write_closed
from toolkit.inference.shares import Share
from toolkit.inference.writers.outputs import Outputs
from toolkit.jobs.contact_sheet import write_sheet


def merge_shares(out: str | Path, folders: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Joins the shares of a job that `predict --shard I/N` left; their journals in `out` are then one.

    Args:
        out: folder of the joined results.
        folders: where the shares' journals and files are; none means `out` itself. Files of other folders are brought
            by hard links, or copies where the disk knows none; the folders stay as they are.

    Returns:
        {"images", "done", "failed": [{"file", "reason"}], "written" (files for all pictures), "journal", "shards"}.

    Raises:
        UserError: a share is missing, did not come to its end, or is of other weights, options or pictures; a file that
            is missing or cannot be written. All that is wrong is named, and nothing is changed.
    """
    out = Path(out)
    found = [journal for folder in folders or [out] for journal in _shares_in(Path(folder))]
    _refuse_unfit(out, found)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    whole = Share()
    lock = lock_folder(out, whole.lock, "is being written by", "wait for its end or stop it")
    try:
        for journal in found:
            if journal.path.parent.resolve() != out.resolve():
                _bring_files(journal, out)
        joined = _Joined(found)
        header = found[0].header
        outputs = Outputs(out, header["formats"], header["classes"], [tuple(color) for color in header["palette"]])
        written = outputs.finish(rows_of(joined.entries))
        sheets = write_sheet(out, header, outputs, joined.entries)
        failed = [{"file": entry.name, "reason": entry.failed} for entry in joined.entries() if entry.failed]
        write_closed(out / whole.journal, header, joined.entries())
        for journal in found:
            if journal.path.parent.resolve() == out.resolve():
                journal.path.unlink()
    finally:
        lock.release()
    return {
        "images": len(joined),
        "done": len(joined) - len(failed),
        "failed": failed,
        "written": len(written) + sheets,
        "journal": str(out / whole.journal),
        "shards": len(found),
    }


class _Joined:
    """The entries of several journals in the order of the listing; of each only its place is kept in memory."""

    def __init__(self, journals: Sequence[JournalFile]) -> None:
        self._journals = journals
        rows = sorted(
            (number, which, begins) for which, journal in enumerate(journals) for number, begins in journal.places()
        )
        self._which = array("l", [which for _, which, _ in rows])
        self._begins = array("q", [begins for _, _, begins in rows])

    def __len__(self) -> int:
        return len(self._which)

    def entries(self) -> Iterator[Entry]:
        """All entries."""
        files = [journal.path.open("rb") for journal in self._journals]
        try:
            for which, begins in zip(self._which, self._begins, strict=True):
                files[which].seek(begins)
                yield Entry.read(files[which].readline())
        finally:
            for file in files:
                file.close()


def _shares_in(folder: Path) -> list[JournalFile]:
    """The journals of shares in a folder. Raises ConfigError where there is none."""
    if not folder.is_dir():
        raise ConfigError(missing_path("folder", folder))
    found = [journal for path in sorted(folder.glob("journal-*-of-*.jsonl")) if (journal := read_journal(path))]
    if not found:
        message = "holds no journal of a share (journal-1-of-4.jsonl ...)"
        raise ConfigError(Problem(folder, message, "predict with --shard I/N leaves them"))
    return found


def _share_of(journal: JournalFile) -> Share:
    number, _, count = journal.path.stem.removeprefix("journal-").partition("-of-")
    return Share.parse(f"{number}/{count}")


def _refuse_unfit(out: Path, journals: Sequence[JournalFile]) -> None:
    """Raises ConfigError, all at once, for shares that are not the whole of one job."""
    shares = [_share_of(journal) for journal in journals]
    problems = []
    counts = sorted({share.of for share in shares})
    if len(counts) > 1:
        message = f"shares of several divisions: by {' and by '.join(map(str, counts))}"
        problems.append(Problem(out, message, "name the folders of one job only"))
    else:
        have = [share.number for share in shares]
        missing = sorted(set(range(1, counts[0] + 1)) - set(have))
        double = sorted({number for number in have if have.count(number) > 1})
        if missing:
            message = (
                f"of {counts[0]} shares {', '.join(map(str, missing))} {'is' if len(missing) == 1 else 'are'} missing"
            )
            problems.append(Problem(out, message, f"predict with --shard {missing[0]}/{counts[0]}"))
        if double:
            problems.append(Problem(out, f"shares {', '.join(map(str, double))} are there more than once"))
    for journal, share in zip(journals, shares, strict=True):
        if not journal.closed:
            message = f"did not come to its end ({journal.entries} pictures)"
            problems.append(Problem(journal.path, message, f"go on with --shard {share} --resume"))
        elif journal.header.get("pictures") != journals[0].header.get("pictures"):
            message = f"is of {journal.header.get('pictures')} pictures, and the first of {journals[0].header.get('pictures')}"
            problems.append(Problem(journal.path, message, f"predict all pictures with --shard {share} --resume"))
    if problems:
        raise ConfigError(problems)
    for journal in journals[1:]:
        refuse_others(journal.path, journal.header, journals[0].header, "predict all shares alike")


def _bring_files(journal: JournalFile, out: Path) -> None:
    """The files of a share in the folder of the joined results, under the same names."""
    for entry in journal.read():
        for name in entry.files:
            source, aim = journal.path.parent / name, out / name
            if not source.is_file():
                message = "is called done by its share's journal, and is not there"
                raise ConfigError(Problem(source, message, "predict that share again with --resume"))
            with replacing(aim, durable=False) as part:
                part.unlink()
                with suppress(OSError):
                    os.link(source, part)
                if not part.exists():
                    shutil.copyfile(source, part)
