"""Runs a process and says what it took: wall and processor seconds, memory of it and its children."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path


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


def spend(command: list[str], env: dict[str, str], *, tree: bool = False) -> Spent:
    """Run a command to its end.

    Args:
        command: program and arguments.
        env: its environment.
        tree: also watch the sum of PSS over the process and its children, ten times a second.

    Raises:
        RuntimeError: it ended with another status than 0; its last output is in the message.
    """
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        peak, own, done = [0], [0], threading.Event()

        def watch() -> None:
            while tree and not done.wait(0.1):
                seen = [_pss(pid) for pid in _tree(process.pid)]
                peak[0] = max(peak[0], sum(whole for whole, _ in seen))
                own[0] = max(own[0], sum(whole - files for whole, files in seen))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            done.set()
            watcher.join()
        wall = time.perf_counter() - started
        if process.returncode:
            log.seek(0)
            tail = log.read()[-3000:].decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)[:200]} ended with {process.returncode}:\n{tail}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, peak[0] / 1024, own[0] / 1024)


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
