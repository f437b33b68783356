"""Problems found while reading a whole data set: the first of each kind in words, the others counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from toolkit.data.faults.leaving_out import Corners, Fault, is_leaving_out, raise_or_note
from toolkit.errors import DataError, Place, Problem, Where, place_of

SHOWN_OF_A_KIND = 10
"""Problems of one kind that are told one by one."""

_TOLD_TOGETHER = 3


class ProblemList:
    """Collects problems, so that all are reported at once and a million of them stay readable.

    blamed: positions of the images whose annotation is wrong, to be left out where that is wanted.
    """

    def __init__(self) -> None:
        self._included: list[Problem] = []
        self._shown: dict[str, list[Problem]] = defaultdict(list)
        self._order: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._images: dict[str, dict[int, None]] = defaultdict(dict)
        self._boxes: dict[str, list[tuple[int, Corners]]] = defaultdict(list)
        self._current: int | None = None

    def add(
        self, kind: str, where: Where, message: str, suggestion: str = "", box: tuple[int, Corners] | None = None
    ) -> None:
        """Notes one problem; of a kind that occurs often only the first are kept in full.

        Args:
            kind: a few words in the plural ("boxes outside their image"), for the count.
            where: file and line or object, as exact as it is known.
            message: what was wanted and what was found.
            suggestion: what to do about it; "" when the message says so.
            box: position of an image and the corners of the box at fault in it, to be shown.
        """
        self._counts[kind] += 1
        if self._current is not None:
            self._images[kind][self._current] = None
        if self._counts[kind] <= SHOWN_OF_A_KIND:
            problem = Problem(where, message, suggestion)
            self._shown[kind].append(problem)
            self._order.append(problem)
            self._boxes[kind] += [box] if box is not None else []

    def wants_more(self, kind: str) -> bool:
        """Whether the next problem of a kind would be told; if not, `count` is enough."""
        return self._counts[kind] < SHOWN_OF_A_KIND

    def count(self, kind: str, number: int = 1) -> None:
        """Adds problems of a kind without words."""
        if number:
            self._counts[kind] += number

    @contextmanager
    def about(self, image: int) -> Iterator[None]:
        """What is added inside belongs to the image at that position."""
        self._current = image
        try:
            yield
        finally:
            self._current = None

    def blame(self, kind: str, images: Iterable[int]) -> None:
        """Notes which images a kind of problem belongs to."""
        self._images[kind].update(dict.fromkeys(images))

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

        where: the file or folder that was read. names: of the images, by position.
        """
        if not self.number:
            return
        if is_leaving_out():
            raise_or_note([Fault("annotation", problem) for problem in self._included])
            raise_or_note([self._fault(kind, where, names) for kind in self._counts])
            return
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
