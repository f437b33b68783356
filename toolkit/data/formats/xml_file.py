"""XML of annotation tools, parsed with care: no document types, no endless nesting, one problem for what is no XML."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from xml.parsers import expat

from toolkit.data.faults.problem_list import ProblemList
from toolkit.errors import Place

_DEEPEST = 32
"""Levels of elements; VOC's own files have four (annotation, object, part, bndbox), CVAT's six."""


class XmlReader(Protocol):
    """What is told of elements as they come."""

    def start(self, tag: str, attributes: dict[str, str], /) -> None:
        """An element begins."""

    def end(self, tag: str, /) -> None:
        """An element ends."""

    def text(self, data: str, /) -> None:
        """A piece of text inside the innermost element."""


class _TooDeep(Exception):  # noqa: N818 - never leaves this file
    """Elements are nested further than any annotation's."""


class _Refused(Exception):  # noqa: N818 - never leaves this file
    """The file declares a document type."""


def parse_xml(path: Path, reader: XmlReader, problems: ProblemList) -> bool:
    """Tells a reader of every element of a file; False, with a problem added, when it cannot be read to its end.

    A document type (<!DOCTYPE ...>) is refused before anything in it is read: no annotation has one, and entity
    expansion and outside references need it.

    Args:
        path: the XML file that is read whole.
        reader: gets the elements and texts in their order.
        problems: takes what is wrong with the file.
    """
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise _TooDeep
        reader.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        reader.end(tag)

    def refuse(*_declaration: object) -> None:
        # Entities, with which a short file can unfold to gigabytes, can only be declared inside a document type.
        raise _Refused

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.text, refuse
    try:
        data = path.read_bytes()
        if not data.strip():
            problems.add("empty annotation files", path, "the annotation file is empty (0 bytes of XML)")
            return False
        parser.Parse(data, True)
    except OSError as error:
        problems.add("unreadable annotation files", path, f"cannot be read: {error.strerror}")
        return False
    except _Refused:
        message = "declares a document type (<!DOCTYPE ...>), which can hide endless entities; it was not read"
        problems.add("annotation files with a document type", path, message, "remove the declaration")
        return False
    except _TooDeep:
        message = f"nests elements more than {_DEEPEST} deep; it was not read"
        problems.add("annotation files nested too deep", path, message, "fetch or export it again")
        return False
    except expat.ExpatError as error:
        place = Place(str(path), error.lineno, error.offset + 1)
        message = f"is no valid XML: {expat.ErrorString(error.code)}"
        problems.add("annotation files that are no XML", place, message, "fetch or export it again")
        return False
    return True
