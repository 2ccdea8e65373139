"""What a plugin changed in the process while it was imported: named, and undone where that is possible.

A plugin declares; it has no business with the state of the program that loads it. Knows nothing of plugins or hosts.
"""

from __future__ import annotations

import builtins
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

HEAVY = ("torch", "transformers", "datasets", "peft", "trl", "pandas", "gradio")
"""Libraries that no plugin may import before its code is needed."""


class Watch:
    """The state of the process when it was made; `undo` restores it and says what had changed."""

    def __init__(self) -> None:
        self._before = {name: read() for name, (read, _) in _STATE.items()}
        self._threads = set(threading.enumerate())
        self._heavy = {name for name in HEAVY if name in sys.modules}

    def undo(self) -> list[str]:
        """What changed, as a user would call it; everything but started threads and imports is restored."""
        changed = []
        for name, (read, restore) in _STATE.items():
            if (now := read()) != (before := self._before[name]):
                with suppress(OSError, ValueError):  # the former working directory may be gone
                    restore(before)
                changed.append(name + _detail(before, now))
        heavy = [name for name in HEAVY if name in sys.modules and name not in self._heavy]
        notes = [f"changed {', '.join(changed)} while it was imported; undone"] if changed else []
        if started := [thread.name for thread in threading.enumerate() if thread not in self._threads]:
            notes.append(f"started threads while it was imported: {', '.join(started)}")
        if heavy:
            notes.append(f"imports {', '.join(heavy)}, which makes every command wait for it")
        return notes


def _detail(before: Any, now: Any) -> str:
    """Which keys of a mapping differ, when it is one."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return ""
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    texts = [os.fsdecode(key) if isinstance(key, bytes) else str(key) for key in keys[:3]]
    return f" ({', '.join(texts)}{' …' if len(keys) > 3 else ''})"


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _environment() -> dict[Any, Any]:
    # The mapping behind `os.environ` where there is one: its own iteration decodes every name and value.
    return dict(getattr(os.environ, "_data", os.environ))


def _set_environment(before: dict[Any, Any]) -> None:
    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in before.items()}
    for name in set(os.environ) - set(texts):
        del os.environ[name]
    os.environ.update(texts)


def _set_path(before: list[str]) -> None:
    sys.path[:] = before


def _signals() -> dict[str, Any]:
    return {s.name: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}


def _set_signals(before: dict[str, Any]) -> None:
    for name, handler in before.items():
        if handler is not None:
            signal.signal(getattr(signal, name), handler)


def _set_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    getattr(warnings, "_filters_mutated", lambda: None)()  # otherwise the cache of decisions is kept


def _set_builtins(before: dict[str, Any]) -> None:
    for name in set(builtins.__dict__) - set(before):
        delattr(builtins, name)
    builtins.__dict__.update(before)


def _root_logger() -> tuple[int, list[Any]] | None:
    logging = sys.modules.get("logging")
    return (logging.root.level, list(logging.root.handlers)) if logging else None


def _set_root_logger(before: tuple[int, list[Any]] | None) -> None:
    root = sys.modules["logging"].root
    level, handlers = before or (30, [])
    root.setLevel(level)
    root.handlers[:] = handlers


def _random() -> Any:
    return sys.modules["random"].getstate() if "random" in sys.modules else None


def _set_random(before: Any) -> None:
    if before is not None:
        sys.modules["random"].setstate(before)


_State = tuple[Callable[[], Any], Callable[[Any], Any]]
_STATE: dict[str, _State] = {
    "the working directory": (_cwd, os.chdir),
    "the environment": (_environment, _set_environment),
    "sys.path": (lambda: list(sys.path), _set_path),
    "warning filters": (lambda: list(warnings.filters), _set_filters),
    "signal handlers": (_signals, _set_signals),
    "built-in names": (lambda: {k: v for k, v in builtins.__dict__.items() if k != "_"}, _set_builtins),
    "the root logger": (_root_logger, _set_root_logger),
    "the random state": (_random, _set_random),
    "sys.excepthook": (lambda: sys.excepthook, lambda before: setattr(sys, "excepthook", before)),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
}


class Streams:
    """Keeps stdout, stderr and stdin: what a plugin prints goes to stderr, and a replaced stream is put back."""

    def __enter__(self) -> Streams:
        self._before = (sys.stdout, sys.stderr, sys.stdin)
        self.notes: list[str] = []
        sys.stdout = sys.stderr
        return self

    def __exit__(self, *_: object) -> None:
        found = (sys.stdout, sys.stderr, sys.stdin)
        expected = (self._before[1], self._before[1], self._before[2])
        names = [n for n, a, b in zip(("stdout", "stderr", "stdin"), found, expected, strict=True) if a is not b]
        sys.stdout, sys.stderr, sys.stdin = self._before
        if names:
            self.notes = [f"replaced sys.{', sys.'.join(names)} while it was imported; undone"]
