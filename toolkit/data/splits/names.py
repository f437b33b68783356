"""Which image a name in a table or list means."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolkit.data.images.listing import same_name, without_extension


def image_finder(names: Sequence[str]) -> Callable[[str], int | None]:
    """A function that gives the position of the image a written name means, or None.

    A name is the path relative to the root, with or without extension, or the last part or parts of it where they belong to
    one image only. Back slashes and Unicode forms make no difference.

    Args:
        names: paths of the images relative to the data set's root, with `/`.

    >>> find = image_finder(["images/a.png", "images/b.png", "more/b.png"])
    >>> find("images/b.png"), find("a"), find("b"), find("c.png")
    (1, 0, None, None)
    """
    table: dict[str, int] = {}
    shared: set[str] = set()
    for index, name in enumerate(names):
        whole = same_name(name)
        for form in (whole, without_extension(whole)):
            parts = form.split("/")
            for start in range(1, len(parts)):
                end = "/".join(parts[start:])
                if table.setdefault(end, index) != index:
                    shared.add(end)
    for end in shared:
        del table[end]
    table |= {without_extension(same_name(name)): index for index, name in enumerate(names)}
    table |= {same_name(name): index for index, name in enumerate(names)}

    def find(written: str) -> int | None:
        name = same_name(written.replace("\\", "/").removeprefix("./"))
        for form in (name, without_extension(name)):
            if form in table:
                return table[form]
        return None

    return find
