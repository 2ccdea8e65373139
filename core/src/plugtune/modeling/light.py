"""Imports heavy libraries without what this process may never use."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def import_bitsandbytes() -> None:
    """Import bitsandbytes, if it is installed, before peft does, and leave torch's compiler out until it is needed.

    peft imports it for every run, quantized or not. It decorates functions with `torch.compile`, which reads torch's
    whole compiler: about a second and a quarter, for functions that a run may never call.
    """
    if importlib.util.find_spec("bitsandbytes") is not None:
        with compiled_at_first_call():
            importlib.import_module("bitsandbytes")


@contextmanager
def compiled_at_first_call() -> Iterator[None]:
    """While it lasts, `torch.compile` gives functions that are compiled, as asked, when they are first called."""
    import torch

    own = torch.compile

    def later(model: Any = None, **options: Any) -> Any:
        if model is None:
            return functools.partial(later, **options)
        if not callable(model) or isinstance(model, torch.nn.Module):
            return own(model, **options)
        return _FirstCall(own, model, options)

    torch.compile = later
    try:
        yield
    finally:
        torch.compile = own


class _FirstCall:
    """A function that `torch.compile` gets to see when it is first called."""

    def __init__(self, compile: Callable[..., Any], function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._make = lambda: compile(function, **options)
        self._made: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made(*args, **kwargs)
