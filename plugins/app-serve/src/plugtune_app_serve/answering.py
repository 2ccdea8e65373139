"""From the scheduler's thread to the event loop: pieces of the answers to one request, and the end of them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from plugtune.inference.job import Job
from plugtune.inference.pieces import Piece
from plugtune.inference.scheduler import Closed, QueueFull, Scheduler

from plugtune_app_serve.errors import closing, failed, too_busy
from plugtune_app_serve.metrics import Metrics

Event = tuple[int, Piece]


class Answers:
    """The answers to one request, piece by piece, each with the number of its answer."""

    def __init__(self, jobs: list[Job], metrics: Metrics) -> None:
        self.jobs, self.metrics = jobs, metrics
        self.queue: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        self.started = time.monotonic()
        self.open = len(jobs)

    async def next(self) -> Event:
        """The next piece.

        Raises:
            ApiError: the engine failed or closed.
        """
        event = await self.queue.get()
        if isinstance(event, Closed):
            raise closing()
        if isinstance(event, BaseException):
            raise failed(event)
        if self.started:
            self.metrics.first_token.observe(time.monotonic() - self.started)
        if event[1].finish:
            self.open -= 1
        return event

    async def all(self) -> AsyncIterator[Event]:
        """Every piece until all answers are done."""
        while self.open:
            yield await self.next()

    @property
    def tokens(self) -> int:
        """Tokens of all answers so far."""
        return sum(len(job.row.ids) for job in self.jobs)


@asynccontextmanager
async def answering(scheduler: Scheduler, jobs: list[Job], metrics: Metrics) -> AsyncIterator[Answers]:
    """Submit jobs; whichever way the block ends, those that are not done are cancelled.

    Raises:
        ApiError: the queue is full or the server goes down.
    """
    answers = Answers(jobs, metrics)
    loop = asyncio.get_running_loop()

    def listener(number: int) -> Any:
        def listen(piece: Piece | BaseException) -> None:
            event: Any = piece if isinstance(piece, BaseException) else (number, piece)
            try:
                loop.call_soon_threadsafe(answers.queue.put_nowait, event)
            except RuntimeError:  # the event loop is gone, and whoever listened with it
                jobs[number].row.finish = "cancelled"

        return listen

    numbers = {id(job): number for number, job in enumerate(jobs)}
    try:
        scheduler.submit(jobs, lambda job: listener(numbers[id(job)]))
    except QueueFull:
        raise too_busy(scheduler.load().waiting) from None
    except Closed:
        raise closing() from None
    started = time.monotonic()
    try:
        yield answers
    finally:
        if answers.open:
            scheduler.cancel(jobs)
            metrics.cancelled.inc()
        metrics.prompt_tokens.inc(sum(len(job.row.prompt) for job in jobs))
        metrics.answer_tokens.inc(answers.tokens)
        metrics.duration.observe(time.monotonic() - started)


async def unless_gone(request: Request, work: Any) -> Any:
    """Await `work`; when the client goes away meanwhile, cancel it and raise `asyncio.CancelledError`."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return task.result()
    finally:
        watch.cancel()


async def _gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)
