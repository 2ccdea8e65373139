"""Runs a process and says what it took: wall and processor seconds, memory of it and its children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds on the wall and of the processor; MB of the largest resident set of the process, and of PSS of all.

    `own_mb` is the largest PSS of all without pages of files, which the system may drop at any time.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    tree_mb: float = 0.0
    own_mb: float = 0.0


STARTER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
status = subprocess.call(sys.argv[2:])
wall, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([status, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], file)
"""
"""A small process between this one and the measured one: the kernel counts what a process was forked from as its own
memory, and a benchmark that has just made a model would be what is measured."""


def spend(command: list[str], env: dict[str, str], *, tree: bool = False) -> Spent:
    """Run a command to its end.

    Args:
        command: program and arguments.
        env: its environment.
        tree: also watch the sum of PSS over the process and its children, ten times a second.

    Raises:
        RuntimeError: it ended with another status than 0; its last output is in the message.
    """
    with tempfile.TemporaryFile() as log, tempfile.NamedTemporaryFile("r") as answer:
        starter = [sys.executable, "-c", STARTER, answer.name, *command]
        process = subprocess.Popen(starter, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        peak, own, done = [0], [0], threading.Event()

        def watch() -> None:
            while tree and not done.wait(0.1):
                seen = [_pss(pid) for pid in _tree(process.pid)[1:]]
                peak[0] = max(peak[0], sum(whole for whole, _ in seen))
                own[0] = max(own[0], sum(whole - files for whole, files in seen))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            process.wait()
        finally:
            done.set()
            watcher.join()
        log.seek(0)
        if process.returncode:
            raise RuntimeError(f"the starter of {' '.join(command)[:200]} failed:\n{_tail(log)}")
        status, wall, cpu, peak_mb = json.load(answer)
        if status:
            raise RuntimeError(f"{' '.join(command)[:200]} ended with {status}:\n{_tail(log)}")
    return Spent(wall, cpu, peak_mb, peak[0] / 1024, own[0] / 1024)


def _tail(log: IO[bytes]) -> str:
    return log.read()[-3000:].decode(errors="replace")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _pss(pid: int) -> tuple[int, int]:
    """PSS of a process, and the part of it that is pages of files, in KB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    found = {line.split()[0].removesuffix(":"): int(line.split()[1]) for line in lines}
    return found.get("Pss", 0), found.get("Pss_File", 0)
