"""How a training process takes memory from the system, and when it gives it back.

A step on the processor fills and frees gigabytes. By default the C library returns much of that to the system after
a step, and the next one pays for every page anew.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# glibc's malloc.h, https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER = -1
LARGEST_MMAP_THRESHOLD = 32 << 20
"""Up to where glibc goes by itself."""
USUAL_MMAPS = 65536
OWN_SETTINGS = (
    "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES", "LD_PRELOAD",
)  # fmt: skip


@contextmanager
def memory_kept(environ: Mapping[str, str] = os.environ) -> Iterator[bool]:
    """While it lasts, memory that a step frees stays with the process; afterwards what is free goes back.

    Settings of the user's own and other allocators stay as they are, and so does a C library that is not glibc.

    Yields:
        whether memory is kept.
    """
    library = None if any(environ.get(name) for name in OWN_SETTINGS) else _glibc()
    if library is None:
        yield False
        return
    library.mallopt(M_MMAP_MAX, 0)  # large tensors, gradients of embeddings for one, come from the heap too
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield True
    finally:
        library.mallopt(M_MMAP_MAX, USUAL_MMAPS)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        library.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_MMAP_THRESHOLD)  # as glibc has it beside that
        library.malloc_trim(0)


def give_back() -> None:
    """What is free in the heap goes back to the system, from between what is not free too (glibc only)."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> Any:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # a system without one, Windows
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
