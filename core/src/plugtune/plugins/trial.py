"""Tries plugins in a child process with a deadline, so that one that hangs or ends the interpreter is only listed.

The child imports one plugin after another and reports each; when it dies or stays silent for too long, the plugin it
was at is the culprit, and a new child goes on with the rest. Where it is safe the child is a fork, which imports
nothing twice.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from plugtune.errors import RequestError
from plugtune.plugins.host import LoadedPlugin, PluginHost
from plugtune.plugins.index import plugin_row

LIMIT = "PLUGTUNE_IMPORT_SECONDS"
DEFAULT_LIMIT = 10.0
PATIENCE = 6
"""How many times the limit a child may take that computes instead of sleeping."""


def tried(plugins: Sequence[LoadedPlugin]) -> list[dict[str, Any]]:
    """A record (`index.plugin_row`) for each plugin, in order.

    Raises:
        RequestError: PLUGTUNE_IMPORT_SECONDS is no number.
    """
    limit = _limit()
    records: list[dict[str, Any]] = []
    while len(records) < len(plugins):
        child = _Child(plugins[len(records) :])
        try:
            records += child.records(limit)
            culprit = child.failure(limit)
        finally:
            child.end()
        if len(records) < len(plugins):
            plugin = plugins[len(records)]
            plugin.status, plugin.reason, plugin.fatal = "failed", culprit, True
            records.append(plugin_row(plugin))
    return records


def _limit() -> float:
    text = os.environ.get(LIMIT) or str(DEFAULT_LIMIT)
    try:
        return max(float(text), 0.1)
    except ValueError:
        raise RequestError(f"{LIMIT} is {text!r}", fix="write a number of seconds") from None


class _Child:
    """A process that loads plugins and writes a JSON line for each into a pipe."""

    def __init__(self, plugins: Sequence[LoadedPlugin]) -> None:
        self._reader, writer = os.pipe()
        self.late = False
        try:
            self._pid = _forked(plugins, self._reader, writer) if _may_fork() else _spawned(plugins, writer)
        finally:
            os.close(writer)

    def records(self, limit: float) -> Iterator[dict[str, Any]]:
        """Records as they come, until the child ends or says nothing for `limit` seconds."""
        rest = b""
        while True:
            waited = 1
            while not select.select([self._reader], [], [], limit)[0]:
                # On a busy machine a child that waits for a processor is late and does not hang.
                if waited == PATIENCE or not _is_working(self._pid):
                    self.late = True
                    return
                waited += 1
            if not (part := os.read(self._reader, 1 << 16)):
                return
            *lines, rest = (rest + part).split(b"\n")
            yield from map(json.loads, lines)

    def failure(self, limit: float) -> str:
        """What became of the child, in words."""
        if self.late:
            return f"it did not finish importing within {limit:g} seconds ({LIMIT} changes the limit)"
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"it crashed the process while it was imported ({signal.Signals(-code).name})"
        return f"it ended the process while it was imported (status {code})"

    def end(self) -> None:
        """Close everything; a child that is still there is killed."""
        os.close(self._reader)
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def _is_working(pid: int) -> bool:
    """Whether a process runs, or waits for a processor or a disk (Linux; false elsewhere)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in ("R", "D")
    except OSError:
        return False


def _may_fork() -> bool:
    """A fork of a process with threads (those of torch, say) may wait for a lock for ever."""
    return hasattr(os, "fork") and threading.active_count() == 1 and "torch" not in sys.modules


def _forked(plugins: Sequence[LoadedPlugin], reader: int, writer: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.close(reader)
        _report(plugins, writer)
        status = 0
    finally:
        os._exit(status)


def _spawned(plugins: Sequence[LoadedPlugin], writer: int) -> int:
    work = json.dumps({"path": sys.path, "plugins": [dataclasses.asdict(plugin) for plugin in plugins]})
    code = "import sys; from plugtune.plugins.trial import main; main(int(sys.argv[1]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(writer)], stdin=subprocess.PIPE, pass_fds=[writer], text=True
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(work)
    process.returncode = 0  # waited for by `failure`
    return process.pid


def main(writer: int) -> None:
    """The child that was not forked."""
    work = json.load(sys.stdin)
    sys.path[:] = work["path"]
    _report([LoadedPlugin(**plugin) for plugin in work["plugins"]], writer)
    os._exit(0)


def _report(plugins: Sequence[LoadedPlugin], writer: int) -> None:
    os.dup2(2, 1)  # whatever a plugin prints, from C too
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    host = PluginHost()
    for plugin in plugins:
        host.load_one(plugin)
        record = json.dumps(plugin_row(plugin), default=str).encode() + b"\n"
        while record:
            record = record[os.write(writer, record) :]
