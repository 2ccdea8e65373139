"""The step loop in a thread of its own, for many clients: a bounded queue, rows that join and leave, cancelling.

Whoever asks hands in a job and a function that is called, in the loop's thread, with each piece of its answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plugtune.inference.engine import Engine
from plugtune.inference.job import Job
from plugtune.inference.pieces import Piece

Listener = Callable[[Piece | BaseException], None]


class QueueFull(Exception):
    """So many answers wait already that another one is not taken."""


class Closed(Exception):
    """The scheduler was closed; nothing more is answered."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy it is: answers computed now, and answers that wait."""

    running: int
    waiting: int


class Scheduler:
    """Answers jobs together.

    Args:
        engine: who answers.
        limits: how much is computed together (`inference.batch.Limits`).
        max_waiting: how many jobs may wait, besides those that are computed, before `QueueFull`.
    """

    def __init__(self, engine: Engine, *, limits: Any = None, max_waiting: int = 256) -> None:
        self.engine, self.max_waiting = engine, max_waiting
        self.batch = engine.batch(limits)
        self._arrived: deque[tuple[Job, Listener]] = deque()
        self._jobs: dict[int, tuple[Job, Listener]] = {}
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="plugtune-engine", daemon=True)
        self._thread.start()

    def load(self) -> Load:
        """How busy it is now."""
        with self._wake:
            running = self.batch.running
            return Load(running, len(self._jobs) - running + len(self._arrived))

    def submit(self, jobs: list[Job], listen: Callable[[Job], Listener]) -> None:
        """Take jobs in, all or none.

        Raises:
            QueueFull: too many wait.
            Closed: it was closed.
        """
        with self._wake:
            if self._closed:
                raise Closed
            known = [*self._jobs.values(), *self._arrived]
            alive = sum(not job.done for job, _ in known)
            if alive + len(jobs) > self.batch.limits.rows + self.max_waiting:
                raise QueueFull
            self._arrived += [(job, listen(job)) for job in jobs]
            self._wake.notify()

    def cancel(self, jobs: list[Job]) -> None:
        """End jobs; they leave at the next step and their listeners are called no more."""
        with self._wake:
            for job in jobs:
                if not job.done:
                    job.row.finish = "cancelled"
            self._wake.notify()

    def call(self, work: Callable[[], Any]) -> Any:
        """Run something with the model between two steps, in the loop's thread; waits for its result."""
        done = threading.Event()
        outcome: list[Any] = []

        def guarded() -> None:
            try:
                outcome.append((True, work()))
            except BaseException as error:
                outcome.append((False, error))
            done.set()

        with self._wake:
            if self._closed:
                raise Closed
            self._calls.append(guarded)
            self._wake.notify()
        done.wait()
        good, value = outcome[0]
        if not good:
            raise value
        return value

    def close(self) -> None:
        """Stop after the present step; jobs that are not done get `Closed`."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not (self._closed or self._arrived or self._calls or self.batch.busy):
                    self._wake.wait()
                if self._closed:
                    break
                for job, listener in self._arrived:
                    self._jobs[id(job.row)] = (job, listener)
                    self.batch.add([job.row])
                self._arrived.clear()
                calls = list(self._calls)
                self._calls.clear()
            for call in calls:
                call()
            self._step()
        self._end_all(Closed())

    def _step(self) -> None:
        try:
            advanced = self.batch.step()
        except Exception as error:  # out of memory, a broken layer: everyone who waits is told
            self.batch = self.engine.batch(self.batch.limits)
            self._end_all(error)
            return
        for row in advanced:
            entry = self._jobs.get(id(row))
            if entry is None or row.finish == "cancelled":
                continue
            job, listener = entry
            piece = job.advance()
            if piece is not None:
                listener(piece)
        for key in [key for key, (job, _) in self._jobs.items() if job.done]:
            del self._jobs[key]

    def _end_all(self, error: BaseException) -> None:
        with self._wake:
            entries = [*self._jobs.values(), *self._arrived]
            self._jobs.clear()
            self._arrived.clear()
            calls = list(self._calls) if self._closed else []
        for job, listener in entries:
            if not job.done:
                job.row.finish = "cancelled"
                listener(error)
        for call in calls:
            call()
