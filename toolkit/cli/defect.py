"""An error that nobody foresaw: one message that says so, and the details in a file for whoever mends it."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

from toolkit.errors import Problem, UserError
from toolkit.version import __version__


def defect(error: BaseException) -> UserError:
    """The message for an error that is the toolkit's fault. Its traceback goes into a file in the temporary folder."""
    said = str(error).strip().split("\n")[0]
    message = f"an error that the toolkit did not foresee: {type(error).__name__}" + (f": {said}" if said else "")
    path = _written("".join(traceback.format_exception(error)))
    where = f"the details are in {path}, for a report of this defect; " if path else ""
    return UserError(Problem("", message, f"{where}TOOLKIT_DEBUG=1 shows them"))


def _written(details: str) -> str | None:
    try:
        handle, path = tempfile.mkstemp(prefix="toolkit-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"toolkit {__version__}, Python {sys.version}\n{sys.argv}\n\n{details}")
    except OSError:
        return None
    return path
