"""Launchers that plugins provide: which one a run asks for, what it is given, and what the ends of processes mean.

Knows no launcher by name. What core starts by itself is `training.launch`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plugtune.capabilities import Launcher, load_ref
from plugtune.catalog import Catalog
from plugtune.errors import RequestError, RunError
from plugtune.options.coerce import TRUE
from plugtune.options.reader import Given, Request
from plugtune.training.world import LostPartner


@dataclass(frozen=True, slots=True)
class Work:
    """What a launcher starts, once for each process.

    Attributes:
        command: the words of the command, without the Python that runs it (`-m plugtune train ...`).
        environment: variables that every process needs besides torchrun's; they hold the run's options.
        options: the launcher's own options.
        folder: working directory; relative paths of the run count from it.
        on_cpu: whether the run computes on the CPU although there may be devices.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    options: Any = None
    folder: str = field(default_factory=os.getcwd)
    on_cpu: bool = False


def named_launcher(request: Request, catalog: Catalog, environ: Mapping[str, str] = os.environ) -> Launcher | None:
    """The launcher that the option `launcher` names, or that a variable of its own turns on.

    Raises:
        PluginError: no installed plugin provides it.
        RequestError: variables turn several on.
    """
    name = request.peek("launcher")
    if name and str(name).lower() not in ("none", "null"):
        found: Launcher = catalog.get("launcher", str(name))
        return found
    on = [x for x in catalog.all("launcher") if x.switch and environ.get(x.switch, "").strip().lower() in TRUE]
    if len(on) > 1:
        raise RequestError(" and ".join(x.switch for x in on) + " exclude each other", where="environment variables",
                           fix="unset one of them")  # fmt: skip
    return on[0] if on else None


def chosen(request: Request, catalog: Catalog, environ: Mapping[str, str] = os.environ) -> Launcher | None:
    """The launcher that this process has to use; `None` in one that a launcher has started."""
    started = "RANK" in environ and "WORLD_SIZE" in environ
    return None if started else named_launcher(request, catalog, environ)


def start_elsewhere(launcher: Launcher, request: Request, host: Any, arguments: Sequence[str]) -> int:
    """Let a plugin's launcher start the processes of a run; the run's exit status.

    Raises:
        PlugtuneError: the request is wrong, which is told before any process is started, or the launcher fails.
    """
    from plugtune.training.launch import shared_environment
    from plugtune.training.planner import make_plan
    from plugtune.training.run import start

    request.values["launcher"] = Given(launcher.name, request.values["launcher"].where if "launcher" in request.values
                                       else f"environment variable {launcher.switch}")  # fmt: skip
    options = make_plan(request, host).launcher_options
    start(request, host, processes=int(load_ref(launcher.processes)(options)))
    on_cpu = str(request.peek("use_cpu", request.peek("no_cuda", "false"))).lower() in TRUE
    work = Work(
        ("-m", "plugtune", "train", *arguments), shared_environment(request, host.lock()), options, on_cpu=on_cpu
    )
    sys.stderr.flush()
    return int(load_ref(launcher.start)(work))


def exit_status(codes: Mapping[int, int]) -> int:
    """The exit status of a run whose processes ended so; raises when there is something that none of them could say.

    A wrong request (2) or a stop (128 + n) of any process counts before the failures that it caused in others, and so
    does a failure before the SIGTERM with which the rest was ended.

    Args:
        codes: process → its exit status, negative for a signal.

    Raises:
        RunError: a process was killed, or another machine went away.
    """
    if not any(codes.values()):
        return 0
    first = next((code for code in codes.values() if code == 2 or code > 128), 0)
    if first:
        return first
    if any(code > 0 and code != LostPartner.exit_code for code in codes.values()):
        return 1
    resume = "go on with --resume_from_checkpoint true; the last whole checkpoint is kept"
    for rank, code in sorted(codes.items(), key=lambda item: item[1] == -signal.SIGTERM):
        if code < 0:
            name = signal.Signals(-code).name
            why = "the system ends a process this way when memory runs out" if name == "SIGKILL" else ""
            raise RunError(f"process {rank} was killed by {name}", why=why, fix=resume)
    raise RunError("processes of another machine went away", fix=f"look at its messages, then {resume}")
