"""Python's garbage collector, kept from going through what imports and large tables have made again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """For work that makes many objects and hardly any garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def all_so_far_kept() -> Iterator[None]:
    """While it lasts, collections leave out every object that is there already; they belong to modules, mostly.

    Inside another one, what is added is left out until the outer one ends.
    """
    outermost = not gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if outermost:
            gc.unfreeze()
