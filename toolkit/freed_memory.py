"""glibc's thresholds for large blocks of memory, which the command line raises for its process.

As they are, glibc returns every large tensor to the system when it is freed, and the next one is faulted in again, page by
page. Kept instead, the same bytes serve the next tensor. Results are the same, and the memory in use at the peak too; between
peaks it is not given back. Only the command line asks for it (`cli/main.py`): importing the package changes no process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library
_LARGEST_MMAP_THRESHOLD = 1 << 30
_kept = False


def keep_freed_memory() -> bool:
    """Tells glibc to keep large freed blocks for the next ones; returns whether it does.

    Nothing happens with another C library, and with `TOOLKIT_MALLOC=0` in the environment.
    """
    global _kept
    if os.environ.get("TOOLKIT_MALLOC", "1") == "0" or not _has_glibc():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        _kept = bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    return _kept


def give_back_freed_memory() -> None:
    """Returns what is free now to the system, where work that is small in memory follows; nothing with another C library."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _has_glibc() else None
    if trim is not None:
        trim(0)


def is_kept() -> bool:
    """Whether this process was told to keep freed memory."""
    return _kept


def _has_glibc() -> bool:
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
