"""Small C kernels, compiled when they are first needed with the machine's own C compiler. Never required.

Where no compiler is found, or it fails, `compile_c` answers None and the caller takes its way without a kernel, which
gives the same numbers. Compiling takes a fraction of a second and happens once a process and source; nothing is kept
on disk, so a kernel built for one processor never meets another. `TOOLKIT_NATIVE=0` in the environment turns kernels
off; `CC` names the compiler.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import logging
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

_LOG = logging.getLogger(__name__)
# Sums of products are rounded twice, as numpy and torch do, unless a kernel says fma. Nobody looks at the processor's
# flags of floating-point exceptions, whose exact order else keeps loops with a choice in them from being vectorised.
_FLAGS = ("-std=c99", "-shared", "-fPIC", "-ffp-contract=off", "-fno-trapping-math")
# gcc's -O3 compiles two to three times longer for the same speed; not every compiler knows these flags, nor the
# processor's name, so plainer builds are tried next.
_TUNING = (
    ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-march=native"),
    ("-O3", "-march=native"),
    ("-O3",),
)
_ITEMS_PER_THREAD = 1 << 20  # about a millisecond of work; starting a thread costs a tenth of that
_Range = Callable[[int, int], object]


def compiler() -> str | None:
    """Path of the C compiler (`CC`, else cc, gcc or clang), or None when there is none or `TOOLKIT_NATIVE=0`."""
    if os.environ.get("TOOLKIT_NATIVE", "1") == "0":
        return None
    names = (os.environ["CC"],) if os.environ.get("CC") else ("cc", "gcc", "clang")
    return next((path for path in map(shutil.which, names) if path), None)


@functools.cache
def compile_c(source: str) -> ctypes.CDLL | None:
    """The library made of a C source without dependencies, or None when it cannot be made here."""
    path = compiler()
    if path is None:
        return None
    for tuning in _TUNING:
        library = _build(source, (path, *_FLAGS, *tuning))
        if library is not None:
            return library
    return None


class WithoutKernels(NamedTuple):
    """Why no C kernel is made on this machine, and what to do about it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.reason}: pooling with its indices takes about twice as long, labels of large maps and COCO's matching "
            f"several times as long, with the same numbers; {self.remedy}"
        )


@functools.cache
def without_kernels() -> WithoutKernels | None:
    """What a user is told where C kernels cannot be made; None where they can. Tried once a process, in a tenth of a second."""
    if os.environ.get("TOOLKIT_NATIVE", "1") == "0":
        return WithoutKernels("TOOLKIT_NATIVE=0 turns C kernels off", "unset TOOLKIT_NATIVE")
    if compile_c("int one(void) { return 1; }") is None:
        return WithoutKernels("no C compiler makes a library here", "install gcc or clang, or name yours with CC")
    return None


def _build(source: str, command: tuple[str, ...]) -> ctypes.CDLL | None:
    # The folder may go once the library is loaded; where a loaded file cannot be deleted it is left behind.
    with tempfile.TemporaryDirectory(prefix="toolkit-native-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "kernel.so"
        try:
            Path(folder, "kernel.c").write_text(source, encoding="utf-8")
            subprocess.run(
                [*command, "-o", str(target), str(Path(folder, "kernel.c"))],
                check=True,
                capture_output=True,
                timeout=120,
            )
            return ctypes.CDLL(str(target))
        except (OSError, subprocess.SubprocessError) as error:
            _LOG.debug("no C kernel: %s: %s", error, getattr(error, "stderr", b""))
            return None


def split(run: _Range, rows: int, items: int) -> None:
    """Calls run(first, last) over [0, rows), cut among as many threads as torch may use and the work is worth.

    A C function called through ctypes releases the interpreter, so threads really run side by side. The parts must be
    independent of one another.

    Args:
        run: called with the first row and the row after the last of its part.
        rows: number of rows to be shared out; a row is never cut.
        items: number of elements in all rows; a thread gets a million at least.

    >>> split(lambda first, last: print(first, last), rows=4, items=100)  # too little for a second thread
    0 4
    """
    parts = max(1, min(torch.get_num_threads(), items // _ITEMS_PER_THREAD, rows))
    bounds = [rows * part // parts for part in range(parts + 1)]
    others = [threading.Thread(target=run, args=pair) for pair in itertools.pairwise(bounds[1:])]
    for thread in others:
        thread.start()
    run(bounds[0], bounds[1])
    for thread in others:
        thread.join()
