"""Starts a run's processes on a Ray cluster and watches them: output, signals, the first failure, the exit status."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plugtune import RequestError, RunError
from plugtune.training.launchers import Work, exit_status

from plugtune_launch_ray import RayOptions
from plugtune_launch_ray.placing import environments, in_order
from plugtune_launch_ray.worker import Worker

SAVING = 600
"""Seconds that processes have for their last checkpoint when the run is told to stop."""
AFTER_FAILURE = 30
"""Seconds that the others have to end after one has failed."""
LOOKS = 0.5
"""Seconds between two looks at the processes."""
HANDED_ON = ("PLUGTUNE_", "HF_", "NCCL_", "OMP_NUM_THREADS", "USE_MODELSCOPE_HUB", "TOKENIZERS_PARALLELISM")
"""Beginnings of variables that the processes get from here; others: `runtime_env` in ray_init_kwargs."""


def processes(options: RayOptions) -> int:
    """How many processes take part."""
    return options.ray_num_workers


def start(work: Work) -> int:
    """Run the processes on the cluster; the run's exit status.

    Raises:
        RequestError: the cluster cannot be reached, or has no room for the run.
        RunError: a process was killed, or a machine went away.
    """
    import ray

    options: RayOptions = work.options
    with _cluster(options), _placed(options, work.on_cpu) as workers:
        try:
            return _run(workers, work)
        except ray.exceptions.RayActorError as error:
            raise RunError(
                "a process of the run went away with its machine or its actor", why=str(error).split("\n")[0],
                fix="look at Ray's dashboard or logs, then go on with --resume_from_checkpoint true",
            ) from error  # fmt: skip
        finally:
            for worker in workers:
                worker.end.remote()


@contextmanager
def _cluster(options: RayOptions) -> Iterator[None]:
    """Join the cluster that ray_init_kwargs or RAY_ADDRESS names, or start one on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default, and no warning about it
    import ray

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    if "address" in (options.ray_init_kwargs or {}) or os.environ.get("RAY_ADDRESS"):
        del settings["include_dashboard"]
    try:
        ray.init(**settings | (options.ray_init_kwargs or {}))
    except (ConnectionError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise RequestError(
            "the Ray cluster cannot be reached", where="ray_init_kwargs", why=str(error).split("\n")[0],
            fix="start one with ray start --head, or leave the address out to run on this machine",
        ) from error  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _placed(options: RayOptions, on_cpu: bool) -> Iterator[list[Any]]:
    """Actors with the resources of the run reserved, all or none.

    Raises:
        RequestError: the cluster can never hold them, or not within `ray_start_timeout`.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    have = ray.cluster_resources()
    each = dict(options.resources_per_worker or ({"GPU": 1} if have.get("GPU") and not on_cpu else {"CPU": 1}))
    _check_room(each, options.ray_num_workers, have)
    group = placement_group([each] * options.ray_num_workers, options.placement_strategy, options.ray_run_name or "")
    try:
        if not group.wait(options.ray_start_timeout):
            raise RequestError(
                f"the cluster has had no room for {options.ray_num_workers} times {each} "
                f"for {options.ray_start_timeout:g} seconds", where="ray_num_workers",
                fix="wait for other jobs, ask for less, or choose another placement_strategy",
            )  # fmt: skip
        held = {"num_cpus": each.pop("CPU", 0), "num_gpus": each.pop("GPU", 0), "resources": each}
        kind: Any = ray.remote(Worker)
        yield [
            kind.options(
                **held, scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number)
            ).remote()
            for number in range(options.ray_num_workers)
        ]
    finally:
        remove_placement_group(group)


def _check_room(each: dict[str, Any], count: int, have: dict[str, float]) -> None:
    """A request that the whole cluster could not hold would wait for ever."""
    short = [name for name, amount in each.items() if float(amount) * count > have.get(name, 0)]
    if short:
        lacking = ", ".join(f"{float(each[n]) * count:g} {n} wanted and {have.get(n, 0):g} there" for n in short)
        raise RequestError(
            f"the cluster has no room for {count} times {each}", where="resources_per_worker", why=lacking,
            fix="ask for fewer workers or other resources; ray status shows what there is",
        )  # fmt: skip


def _run(workers: Sequence[Any], work: Work) -> int:
    import ray

    places = ray.get([worker.place.remote() for worker in workers])
    order = in_order(places)
    ranked = [workers[number] for number in order]
    variables = environments([places[n] for n in order], work.options.master_addr, work.options.master_port)
    handed = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
    begun = ray.get([
        worker.run.remote(work.command, {**handed, **work.environment, **own}, work.folder)
        for worker, own in zip(ranked, variables, strict=True)
    ])  # fmt: skip
    if any(begun):
        raise RequestError("a process cannot be started", why=next(filter(None, begun)),
                           fix="the run's folder must be the same on every machine (a shared file system)")  # fmt: skip
    with _signals() as asked:
        return exit_status(_watch(ranked, asked))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals to this process, collected instead of ending it: the run's processes save and stop."""
    asked: list[int] = []
    before = {n: signal.signal(n, lambda number, _: asked.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(workers: Sequence[Any], asked: list[int]) -> dict[int, int]:
    """The exit status of each process, once all have ended; what they print is printed here."""
    import ray

    ended: dict[int, int] = {}
    told, deadline = 0, float("inf")
    while len(ended) < len(workers):
        time.sleep(LOOKS)
        running = [rank for rank in range(len(workers)) if rank not in ended]
        for rank, (lines, status) in zip(running, ray.get([workers[r].look.remote() for r in running]), strict=True):
            _show(lines)
            if status is not None:
                ended[rank] = status
        stopping, failed = len(asked) > told, any(ended.values()) and deadline == float("inf")
        if stopping or failed:
            number = asked[-1] if stopping else signal.SIGTERM
            told = len(asked)
            deadline = min(deadline, time.monotonic() + (SAVING if stopping else AFTER_FAILURE))
            ray.get([worker.stop.remote(number) for rank, worker in enumerate(workers) if rank not in ended])
        if time.monotonic() > deadline:
            ray.get([worker.end.remote() for rank, worker in enumerate(workers) if rank not in ended])
    return ended


def _show(lines: Sequence[tuple[str, bytes]]) -> None:
    for name, chunk in lines:
        stream = getattr(sys, name)
        stream.buffer.write(chunk)
        stream.flush()
