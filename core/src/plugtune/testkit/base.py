"""What all tests of the kit share: the installed plugins, skips that need a reason, no network."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

import pytest

from plugtune.plugins.host import LoadedPlugin, PluginHost

Test = TypeVar("Test", bound=Callable[..., Any])


def optional(test: Test) -> Test:
    """Marks a test that a plugin may skip, with a reason under `skips`."""
    test.__kit_optional__ = True  # type: ignore[attr-defined]
    return test


@cache
def installed() -> PluginHost:
    """All installed plugins, loaded once."""
    return PluginHost().load()


class KitTests:
    """Base of the kit's classes.

    Attributes:
        plugin: the plugin's name, the left side of its entry point.
        skips: name of an optional test → the reason why this plugin does not take it.
    """

    plugin: ClassVar[str] = ""
    skips: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _skips_have_reasons(self, request: pytest.FixtureRequest) -> None:
        test = request.function
        name = getattr(test, "__name__", "")
        if (unknown := [n for n in self.skips if not hasattr(self, n)]) and name:
            pytest.fail(f"skips names {', '.join(unknown)}, which is no test of the kit")
        if name in self.skips:
            reason = self.skips[name]
            if not getattr(test, "__kit_optional__", False):
                pytest.fail(f"{name} is mandatory and cannot be skipped")
            if len(reason.split()) < 3:
                pytest.fail(f"the reason for skipping {name} says nothing: {reason!r}")
            pytest.skip(reason)

    @pytest.fixture(autouse=True)
    def _no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A plugin under test reaches nothing but this machine."""
        real = socket.socket.connect

        def connect(self: socket.socket, address: Any) -> Any:
            host = address[0] if isinstance(address, tuple) else "local"
            if host not in ("local", "localhost", "127.0.0.1", "::1"):
                raise OSError(f"the conformance kit allows no network; something connects to {host}")
            return real(self, address)

        def lookup(host: Any, *_: Any, **__: Any) -> Any:
            raise OSError(f"the conformance kit allows no network; something looks up {host}")

        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr(socket.socket, "connect", connect)
        monkeypatch.setattr(socket, "getaddrinfo", lookup)

    @pytest.fixture(scope="class")
    def loaded(self) -> LoadedPlugin:
        """The plugin under test; fails with its reason when it is not there or not well."""
        host = installed()
        found = next((p for p in host.plugins if p.name == self.plugin), None)
        if found is None:
            names = ", ".join(p.name for p in host.plugins)
            pytest.fail(f"plugin {self.plugin!r} is not installed (pip install -e .); installed: {names}")
        if found.status != "ok":
            pytest.fail(f"plugin {self.plugin} is {found.status}: {found.reason}\n{found.trace}")
        return found


class CapabilityTests(KitTests):
    """Base of the classes for one capability.

    Attributes:
        kind: its kind, set by the kit.
        name: its name.
    """

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

    @pytest.fixture(scope="class")
    def item(self, loaded: LoadedPlugin) -> Any:
        """The capability under test."""
        found = [i for i in loaded.provides if i.kind == self.kind and i.name == self.name]
        if not found:
            names = ", ".join(f"{i.kind} {i.name}" for i in loaded.provides) or "nothing"
            pytest.fail(f"plugin {self.plugin} provides no {self.kind} {self.name!r}; it provides {names}")
        return found[0]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command ended with, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def plugtune(*arguments: object) -> Ended:
    """Run a command of the program in this process, which has the heavy libraries already."""
    from plugtune.cli.main import run

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run([str(argument) for argument in arguments])
    return Ended(status, out.getvalue(), err.getvalue())


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=600
    )
