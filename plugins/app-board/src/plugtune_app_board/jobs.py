"""Jobs: commands that run apart from the board, one at a time, known from files so that they outlive it.

A record on disk holds the command, the folder, the process and when that process was started; whether a job runs is
asked of the system, never of memory. Knows nothing of pages or of what a command does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from plugtune.training.checkpoint import write_whole

from plugtune_app_board.settings import AUTH, TOKEN

RUNNING, QUEUED = "running", "queued"
ENDED = ("finished", "failed", "stopped", "aborted")


@dataclass(slots=True)
class Job:
    """One command and how it fares.

    Attributes:
        id: sorts by creation.
        kind: `train`, `evaluate`, `export`.
        title: what a person calls it.
        folder: where its files go.
        command: the argument list; never a shell string.
        env: what is added to the environment.
        log: file of its output.
        proof: a file that it writes when all went well.
        pid, started: the process and its start time by the system's clock (a process number is used again).
        asked: `stop` or `abort` when someone asked for it.
    """

    id: str
    kind: str
    title: str
    folder: str
    command: list[str]
    log: str
    proof: str = ""
    env: dict[str, str] = field(default_factory=dict)
    state: str = QUEUED
    created: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    pid: int = 0
    started: float = 0.0
    code: int | None = None
    asked: str = ""

    @property
    def active(self) -> bool:
        """Whether it runs or waits."""
        return self.state in (RUNNING, QUEUED)


class Jobs:
    """All jobs of a working folder, and the thread that starts the next one.

    Args:
        folder: where records are kept.
        work: working folder of the commands.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work = folder, work
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = threading.RLock()
        self._closing = threading.Event()

    def watch(self) -> None:
        """Begin to start waiting jobs; the thread ends with the board, the jobs do not."""
        threading.Thread(target=self._loop, daemon=True, name="plugtune-board-jobs").start()

    def close(self) -> None:
        """Start nothing any more."""
        self._closing.set()

    def _loop(self) -> None:
        while not self._closing.wait(0.5):
            try:
                self.step()
            except OSError:  # a full disk, say: shown by what fails, and tried again
                continue

    def add(
        self, kind: str, title: str, command: Sequence[str], *, folder: Path, log: Path, proof: Path,
        env: Mapping[str, str],
    ) -> Job:  # fmt: skip
        """Put a command into the queue; it starts at once when nothing runs."""
        job = Job(
            f"{time.time_ns():020d}", kind, title, str(folder), list(command), str(log), str(proof), dict(env),
            created=time.time(),
        )  # fmt: skip
        self._write(job)
        self.step()
        return self.get(job.id) or job

    def all(self) -> list[Job]:
        """Every job, newest first."""
        jobs = [self._read(path) for path in self.folder.glob("*.json")] if self.folder.is_dir() else []
        return sorted((job for job in jobs if job is not None), key=lambda job: job.id, reverse=True)

    def get(self, identity: str) -> Job | None:
        """The job of that id."""
        return next((job for job in self.all() if job.id == identity), None)

    def current(self) -> Job | None:
        """The job that runs."""
        return next((job for job in self.all() if job.state == RUNNING), None)

    def waiting(self) -> list[Job]:
        """The jobs that wait, next one first."""
        return [job for job in reversed(self.all()) if job.state == QUEUED]

    def step(self) -> None:
        """Notice what ended and start what is next; several boards over one folder take turns."""
        with self._guard:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(self.folder / ".lock", timeout=2):
                    for job in self.all():
                        if job.state == RUNNING and not self._alive(job):
                            self._end(job)
                    waiting = self.waiting()
                    if waiting and self.current() is None:
                        self._start(waiting[0])
            except Timeout:
                return

    def stop(self, identity: str) -> None:
        """Ask a job to save and end; a waiting job leaves the queue."""
        self._ask(identity, "stop")

    def abort(self, identity: str) -> None:
        """End a job and all its processes at once."""
        self._ask(identity, "abort")

    def _ask(self, identity: str, what: str) -> None:
        with self._guard, FileLock(self.folder / ".lock", timeout=10):
            job = self.get(identity)
            if job is None or not job.active:
                return
            job.asked = what
            if job.state == QUEUED:
                job.state, job.ended = "stopped", time.time()
            self._write(job)
            if job.state == RUNNING and self._alive(job):
                if what == "abort":
                    kill_tree(job.pid)
                else:
                    os.kill(job.pid, signal.SIGTERM)
        self.step()

    def _start(self, job: Job) -> None:
        Path(job.log).parent.mkdir(parents=True, exist_ok=True)
        secrets = {TOKEN, AUTH}
        env = {key: value for key, value in os.environ.items() if key not in secrets} | job.env
        try:
            with Path(job.log).open("wb") as log:
                child = subprocess.Popen(
                    job.command, cwd=self.work, env={**env, "PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            started = psutil.Process(child.pid).create_time()
        except (OSError, psutil.Error) as error:
            job.state, job.ended = "failed", time.time()
            Path(job.log).write_text(f"the command could not be started: {error}\n", encoding="utf-8")
        else:
            self._children[job.id] = child
            job.pid, job.started, job.began, job.state = child.pid, started, time.time(), RUNNING
        self._write(job)

    def _alive(self, job: Job) -> bool:
        child = self._children.get(job.id)
        if child is not None:
            job.code = child.poll()
            return job.code is None
        try:
            process = psutil.Process(job.pid)
            same = abs(process.create_time() - job.started) < 2
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _end(self, job: Job) -> None:
        """The outcome: by the exit status, or, for a job of an earlier board, by the file that proves success."""
        job.ended = time.time()
        proof = Path(job.proof)
        proved = bool(job.proof) and proof.exists() and proof.stat().st_mtime >= job.began - 1
        good = job.code == 0 if job.code is not None else proved
        asked = {"stop": "stopped", "abort": "aborted"}.get(job.asked)
        job.state = asked or ("finished" if good else "failed")
        self._children.pop(job.id, None)
        self._write(job)

    def _write(self, job: Job) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / f"{job.id}.json", json.dumps(asdict(job), ensure_ascii=False, indent=1).encode())

    @staticmethod
    def _read(path: Path) -> Job | None:
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return Job(**values)
        except (OSError, ValueError, TypeError):
            return None  # not a record of ours


def kill_tree(pid: int) -> None:
    """Kill a process and everything it started."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return
    for member in family:
        try:
            member.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(family, timeout=5)
