"""`--trace-hooks`: prints on stderr which plugin's hook was called, in what order, and how long it took."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

SWITCH = "PLUGTUNE_TRACE_HOOKS"


def is_on() -> bool:
    """Whether hooks are traced in this process."""
    return os.environ.get(SWITCH, "") not in ("", "0")


def say(hook: str, plugin: str, seconds: float, note: str = "") -> None:
    """One call."""
    print(f"hook {hook}: {plugin} {1000 * seconds:.1f} ms{note}", file=sys.stderr, flush=True)


def trace_plugin(manager: Any, plugin: str) -> None:
    """From now on every call of a hook of this plugin is told."""
    for caller in manager.get_hookcallers(manager.get_plugin(plugin)) or ():
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name == plugin:
                around = implementation.wrapper or implementation.hookwrapper
                traced = _around if around else _timed
                implementation.function = traced(implementation.function, caller.name, plugin)


def _timed(function: Callable[..., Any], hook: str, plugin: str) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any) -> Any:
        started = time.perf_counter()
        outcome = ""
        try:
            return function(*args)
        except BaseException as error:
            outcome = f", raised {type(error).__name__}"
            raise
        finally:
            say(hook, plugin, time.perf_counter() - started, outcome)

    return call


def _around(function: Callable[..., Any], hook: str, plugin: str) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any) -> Generator[Any, Any, Any]:
        started = time.perf_counter()
        result = yield from function(*args)
        say(hook, plugin, time.perf_counter() - started, ", wrapped around the others")
        return result

    return call
