"""Runs batches in worker processes, in order, with a bounded number under way: memory does not grow with the rows."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from plugtune.collector import all_so_far_kept
from plugtune.data.records import RawRow, Where
from plugtune.data.work import Batch, Work
from plugtune.errors import RunError

PARALLEL_FROM = 4000
"""Rows from which worker processes pay for themselves."""
MOST = 16
"""Worker processes that are started unasked."""


def batches_of(rows: Iterator[RawRow], work: Work, size: int, workers: int | None) -> Iterator[Batch]:
    """Each batch of `size` rows, in worker processes when there are enough rows or when workers are asked for."""
    first = list(islice(rows, PARALLEL_FROM))
    if workers is None:
        workers = min(_cores(), MOST) if len(first) == PARALLEL_FROM else 1
    groups = _groups(first, rows, size)
    return map(work, groups) if workers == 1 else _in_processes(work, groups, workers)


def _groups(first: list[RawRow], rest: Iterator[RawRow], size: int) -> Iterator[list[RawRow]]:
    for start in range(0, len(first), size):
        # A batch that the head of the file does not fill goes on with the rest of it.
        head = first[start : start + size]
        yield head + list(islice(rest, size - len(head)))
    first.clear()
    while batch := list(islice(rest, size)):
        yield batch


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(work: Work, groups: Iterator[list[RawRow]], workers: int) -> Iterator[Batch]:
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    work.expect_many()
    # A collection in a worker would touch, and so copy, every page that it shares with this process.
    with all_so_far_kept():
        pool = ProcessPoolExecutor(workers, context, _start_worker, (work,))
        under_way: deque[Future[Batch]] = deque()
        try:
            for group in groups:
                under_way.append(pool.submit(_call, [_packed(raw) for raw in group]))
                # One batch waits for each worker, so that none is idle and no more rows are in memory than that.
                if len(under_way) >= 2 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process that prepared rows was killed", why="the machine may have run out of memory",
                fix="use fewer of them: --preprocessing_num_workers 1",
            ) from error  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)


_work: Work | None = None
_Packed = tuple[Mapping[str, Any], str, int, int | None]


def _start_worker(work: Work) -> None:
    global _work
    # Each process has a core to itself: the tokenizer's own threads would only fight over them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _work = work


def _packed(raw: RawRow) -> _Packed:
    # Tuples travel between processes several times as fast as dataclasses.
    return raw.values, raw.where.file, raw.where.row, raw.where.line


def _call(rows: list[_Packed]) -> Batch:
    assert _work is not None
    return _work([RawRow(values, Where(file, row, line)) for values, file, row, line in rows])
