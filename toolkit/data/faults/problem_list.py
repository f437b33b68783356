"""Problems found while reading a whole data set: the first of each kind in words, the others counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from toolkit.data.faults.leaving_out import Corners, Fault, is_leaving_out, raise_or_note
from toolkit.errors import DataError, Place, Problem, Where, place_of

SHOWN_OF_A_KIND = 10
"""Problems of one kind that are told one by one."""

_TOLD_TOGETHER = 3


class ProblemList:
    """Collects problems, so that all are reported at once and a million of them stay readable.

    A problem belongs to images, which can be left out where that is wanted, or to none: then it spoils the whole set.

    blamed: positions of the images at which something is wrong. notes: sentences about what is no problem, but was
    read otherwise than it stands, or not at all. tally: how often that was so, by a word, for one such sentence.
    """

    def __init__(self) -> None:
        self._included: list[Problem] = []
        self._shown: dict[str, list[Problem]] = defaultdict(list)
        self._order: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._images: dict[str, dict[int, None]] = defaultdict(dict)
        self._boxes: dict[str, list[tuple[int, Corners]]] = defaultdict(list)
        self._current: int | None = None
        self._of_no_image = False
        self.notes: list[str] = []
        self.tally: Counter[str] = Counter()

    def add(
        self,
        kind: str,
        where: Where,
        message: str,
        suggestion: str = "",
        image: int | None = None,
        box: Corners | None = None,
    ) -> None:
        """Notes one problem; of a kind that occurs often only the first are kept in full.

        Args:
            kind: a few words in the plural ("boxes outside their image"), for the count.
            where: file and line or object, as exact as it is known.
            message: what was wanted and what was found, in one sentence.
            suggestion: what to do about it; "" when the message says so.
            image: position of the image it belongs to; None: the one that `about` names, or none at all.
            box: corners of the box at fault in that image, to be shown.
        """
        image = self._current if image is None else image
        self.count(kind, [] if image is None else [image])
        if self._counts[kind] <= SHOWN_OF_A_KIND:
            problem = Problem(where, message, suggestion)
            self._shown[kind].append(problem)
            self._order.append(problem)
            if box is not None and image is not None:
                self._boxes[kind].append((image, box))

    def wants_more(self, kind: str) -> bool:
        """Whether the next problem of a kind would be told; if not, `count` is enough."""
        return self._counts[kind] < SHOWN_OF_A_KIND

    def count(self, kind: str, images: Sequence[int]) -> None:
        """Adds problems of a kind without words: one for each of the images they belong to; [] is one of no image."""
        self._counts[kind] += len(images) or 1
        self._of_no_image |= not len(images)
        self._images[kind].update(dict.fromkeys(images))

    @contextmanager
    def about(self, image: int) -> Iterator[None]:
        """What is added inside belongs to the image at that position."""
        self._current = image
        try:
            yield
        finally:
            self._current = None

    def blame(self, kind: str, images: Sequence[int]) -> None:
        """Notes further images that a problem which is there already belongs to."""
        self._images[kind].update(dict.fromkeys(images))

    @property
    def so_far(self) -> tuple[Problem, ...]:
        """The problems that have words."""
        return (*self._included, *self._order)

    @property
    def number(self) -> int:
        """How many problems there are."""
        return len(self._included) + sum(self._counts.values())

    @property
    def blamed(self) -> list[int]:
        """Positions of the images at fault, sorted."""
        return sorted({image for images in self._images.values() for image in images})

    def include(self, error: DataError) -> None:
        """Adds the problems of an error that was caught, in front, however many."""
        self._included[:0] = error.problems

    def stop_if_any(self, where: Where, names: Sequence[str] = ()) -> None:
        """Raises DataError with everything collected; inside `leaving_out()` it is noted, one fault a kind.

        What belongs to no image is raised there too: nobody could say what it spoils. So is what is wrong with every
        image. where: the file or folder that was read. names: of the images, by position.
        """
        if not self.number:
            return
        if is_leaving_out() and not self._included and not self._of_no_image:
            if len(self.blamed) < len(names):
                raise_or_note([self._fault(kind, where, names) for kind in self._counts])
                return
            self.include(DataError(Problem(where, f"something is wrong with every one of its {len(names)} images")))
        self.stop(where)

    def stop(self, where: Where) -> NoReturn:
        """Raises DataError with everything collected, inside `leaving_out()` too: for what spoils the whole data set."""
        rest = [
            Problem(where, f"and {count - SHOWN_OF_A_KIND} more {kind}, {count} in all")
            for kind, count in self._counts.items()
            if count > SHOWN_OF_A_KIND
        ]
        raise DataError([*self._included, *self._order, *rest])

    def _fault(self, kind: str, where: Where, names: Sequence[str]) -> Fault:
        """All problems of a kind as one."""
        shown, count = self._shown[kind], self._counts[kind]
        problem = shown[0] if shown else Problem(where, f"{count} {kind}")
        if count > 1:
            told = "; ".join(_told(one, place_of(where)) for one in shown[:_TOLD_TOGETHER])
            more = f"; and {count - _TOLD_TOGETHER} more" if count > _TOLD_TOGETHER else ""
            remedy = next((one.suggestion for one in shown if one.suggestion), "")
            problem = Problem(where, f"{count} {kind}: {told}{more}", remedy)
        images = tuple(names[image] for image in self._images[kind] if image < len(names))
        boxes = tuple((names[image], corners) for image, corners in self._boxes[kind] if image < len(names))
        return Fault(kind.replace(" ", "_"), problem, images, count, boxes)


def _told(problem: Problem, where: Place) -> str:
    """A problem among others of the same file, whose name need not be repeated."""
    same = problem.place.file == where.file
    place = problem.place._replace(file="") if same else problem.place
    return f"{place}: {problem.message}" if place else problem.message
