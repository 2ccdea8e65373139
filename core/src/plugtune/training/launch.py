"""Starting a run's processes: how many the machine and the environment ask for, and torchrun's agent to watch them.

This is the parent's side: it decides, starts workers with the same plugins and options, and turns their ends into one
message and one exit status. What a worker knows of the others is `training.world`. Nothing heavy is imported until
there are processes to start.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError, RunError
from plugtune.options.reader import Given, Request
from plugtune.training.launchers import exit_status
from plugtune.training.world import REQUEST

SAVING = 600
"""Seconds that workers have for their last checkpoint when the run is told to stop."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How many processes, where, and how they find each other.

    Attributes:
        processes: on this node.
        nodes: least and most nodes; the same number twice unless the run is elastic.
        node_rank: number of this node, 0 is where `address` points to.
        address, port: where the processes meet; an empty address is this machine alone.
        restarts: how often failed workers are started again, from the newest whole checkpoint.
        rendezvous: name of an elastic rendezvous; empty for a fixed number of nodes.
        why: what asked for it.
    """

    processes: int
    nodes: tuple[int, int] = (1, 1)
    node_rank: int = 0
    address: str = ""
    port: int = 0
    restarts: int = 0
    rendezvous: str = ""
    why: str = ""

    @property
    def total(self) -> int:
        """Processes on all nodes, as many as there are at least."""
        return self.processes * self.nodes[0]

    def line(self) -> str:
        """The torchrun command that starts the same processes."""
        least, most = self.nodes
        parts = ["torchrun", f"--nproc_per_node {self.processes}"]
        if most > 1:
            parts.append(f"--nnodes {least}" + (f":{most}" if most != least else ""))
        if self.rendezvous:
            parts += [f"--rdzv_id {self.rendezvous}", "--rdzv_backend c10d"]
            parts.append(f"--rdzv_endpoint {self.address}:{self.port}")
        elif most > 1:
            parts += [f"--node_rank {self.node_rank}", f"--master_addr {self.address}", f"--master_port {self.port}"]
        if self.restarts:
            parts.append(f"--max_restarts {self.restarts}")
        return " ".join([*parts, "-m plugtune train ..."])


def wanted(request: Request, environ: Mapping[str, str] = os.environ) -> Launch | None:
    """The processes to start, or `None` when this process does the work itself.

    Variables are those of LLaMA-Factory and torchrun: FORCE_TORCHRUN, NPROC_PER_NODE, NNODES, NODE_RANK, MASTER_ADDR,
    MASTER_PORT, MAX_RESTARTS, RDZV_ID, MIN_NNODES, MAX_NNODES.

    Raises:
        RequestError: a variable is no number, or they contradict each other.
    """
    if "RANK" in environ and "WORLD_SIZE" in environ:  # torchrun or accelerate launch has started this process
        return None
    nodes = _nodes(environ)
    on_cpu = str(request.peek("use_cpu", request.peek("no_cuda", "false"))).lower() in ("true", "1", "yes")
    devices = 0 if on_cpu else device_count()
    processes = _number(environ, "NPROC_PER_NODE", devices or 1, least=1)
    if devices and processes > devices:
        raise RequestError(
            f"{processes} processes were asked for and this machine has {devices} devices", where="NPROC_PER_NODE",
            fix=f"use at most {devices}, or add --use_cpu true",
        )  # fmt: skip
    forced = environ.get("FORCE_TORCHRUN", "").lower() in ("1", "true", "yes") or bool(request.peek("deepspeed"))
    if processes == 1 and nodes == (1, 1) and not forced:
        return None
    asked = [n for n in ("FORCE_TORCHRUN", "NPROC_PER_NODE", "NNODES", "MAX_NNODES") if n in environ]
    alone = nodes[1] == 1
    address = environ.get("MASTER_ADDR", "")
    if not alone and not address:
        raise RequestError(f"{nodes[1]} nodes and no place to meet", where="MASTER_ADDR",
                           fix="set MASTER_ADDR to the address of node 0, the same on every node")  # fmt: skip
    node_rank = _number(environ, "NODE_RANK", 0)
    if node_rank >= nodes[1]:
        raise RequestError(f"NODE_RANK {node_rank} of {nodes[1]} nodes", where="NODE_RANK",
                           fix=f"count nodes from 0 to {nodes[1] - 1}")  # fmt: skip
    rendezvous = environ.get("RDZV_ID", "") if not alone or "RDZV_ID" in environ else ""
    if nodes[0] != nodes[1] and not rendezvous:
        raise RequestError("a number of nodes that may change needs a name", where="RDZV_ID",
                           fix="set RDZV_ID to the same word on every node")  # fmt: skip
    port = _number(environ, "MASTER_PORT", 0 if alone else 29500)
    return Launch(
        processes, nodes, node_rank, address or "127.0.0.1", port or _free_port(),
        _number(environ, "MAX_RESTARTS", 0), rendezvous,
        ", ".join(asked) or ("deepspeed" if forced else f"{devices} devices"),
    )  # fmt: skip


def _nodes(environ: Mapping[str, str]) -> tuple[int, int]:
    nodes = _number(environ, "NNODES", 1, least=1)
    return _number(environ, "MIN_NNODES", nodes, least=1), _number(environ, "MAX_NNODES", nodes, least=1)


def _number(environ: Mapping[str, str], name: str, default: int, least: int = 0) -> int:
    text = environ.get(name) or str(default)
    if not text.isdigit() or int(text) < least:
        raise RequestError(f"{name} is {text!r}", where=f"environment variable {name}",
                           fix=f"set it to a whole number, at least {least}")  # fmt: skip
    return int(text)


def device_count() -> int:
    """Accelerators that torch can use; asks torch only when the system shows a device."""
    signs = ("/dev/nvidia0", "/dev/nvidia1", "/dev/kfd", "/dev/davinci0", "/dev/dri/renderD128")
    if not any(Path(sign).exists() for sign in signs):
        return 0
    import torch

    accelerator = getattr(torch, "accelerator", None)
    if accelerator is None:
        return int(torch.cuda.device_count())
    return int(accelerator.device_count()) if accelerator.is_available() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def handed_down(environ: Mapping[str, str] = os.environ) -> Request | None:
    """The options that the parent read, when it started this process."""
    text = environ.get(REQUEST)
    if not text or "RANK" not in environ:
        return None
    return Request({name: Given(value, where) for name, (value, where) in json.loads(text).items()})


def shared_environment(request: Request, lock: str) -> dict[str, str]:
    """What every process of a run is given: the options as this one read them, and the plugins to be held to."""
    from plugtune.plugins.host import LOCK

    values = {name: [given.value, given.where] for name, given in request.values.items()}
    return {LOCK: lock, REQUEST: json.dumps(values)}


def start_workers(launch: Launch, request: Request, lock: str, args: Sequence[str]) -> int:
    """Start the processes, watch them, and return the run's exit status.

    Args:
        launch: what to start.
        request: the options as read; workers do not read them again.
        lock: what `PluginHost.lock` gave; workers are held to the same plugins.
        args: words after `plugtune train`.

    Raises:
        RunError: a process was killed, or the nodes did not find each other.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    os.environ.update(shared_environment(request, lock))
    threads = max((os.cpu_count() or 1) // launch.processes, 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    _quiet_agent()
    try:
        elastic_launch(_config(launch), sys.executable)("-m", "plugtune", "train", *args)
    except ChildFailedError as error:
        return _status(error)
    except SignalException as stop:
        return 128 + int(stop.sigval)
    except (OSError, RuntimeError, TimeoutError) as error:
        raise RunError(
            "the processes did not find each other", where=f"{launch.address}:{launch.port}",
            why=f"{type(error).__name__}: {error}".split("\n")[0],
            fix="check MASTER_ADDR, MASTER_PORT and NNODES on every node, and that the port is free",
        ) from error  # fmt: skip
    return 0


def _config(launch: Launch) -> Any:
    import dataclasses

    from torch.distributed.launcher.api import LaunchConfig

    settings: dict[str, Any] = {
        "min_nodes": launch.nodes[0],
        "max_nodes": launch.nodes[1],
        "nproc_per_node": launch.processes,
        "run_id": launch.rendezvous or "none",
        "rdzv_backend": "c10d" if launch.rendezvous else "static",
        "rdzv_endpoint": f"{launch.address}:{launch.port}",
        "rdzv_configs": {"timeout": 900} if launch.rendezvous else {"rank": launch.node_rank, "timeout": 900},
        "max_restarts": launch.restarts,
        "local_addr": launch.address if launch.nodes[1] == 1 else None,
        "shutdown_timeout": SAVING,
    }
    known = {field.name for field in dataclasses.fields(LaunchConfig)}  # shutdown_timeout came with torch 2.13
    return LaunchConfig(**{name: value for name, value in settings.items() if name in known})


def _quiet_agent() -> None:
    """The agent's own log repeats what workers say; only its fatal words are kept."""
    import logging

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("torch.distributed.elastic", "torch.distributed.launcher")):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _status(error: Any) -> int:
    """The exit status of torchrun's workers, some of which failed."""
    try:
        return exit_status({rank: int(failure.exitcode) for rank, failure in error.failures.items()})
    except RunError as told:
        raise told from error
