"""Text of others on its way to a terminal or a log: names of files, keys and classes are shown and never obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with whatever a terminal obeys instead of showing written out; line feeds stay.

    Control characters and escape sequences, marks that turn the direction of writing, half letters of names that are no
    UTF-8: everything that Python itself does not call printable.

    >>> print(printable("a\x1b[31m\tb"))
    a\x1b[31m\tb
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )
