"""What the processes of a run compute on, and whether that is what was asked for.

Some requests for several processes or for sharding are dropped without a word further down (accelerate's CPU launcher
starts one process; FSDP1 on a CPU becomes plain data parallelism). They are caught here.
"""

from __future__ import annotations

import os
from typing import Any

from plugtune.errors import RequestError, RunError
from plugtune.training.plan import Plan
from plugtune.training.world import World


def check_devices(plan: Plan, arguments: Any, world: World) -> None:
    """Hold the training arguments to the world, and write what the run computes on into the plan.

    Raises:
        RunError: fewer processes take part than were started.
        RequestError: FSDP1 was asked for where it would silently not happen.
    """
    if arguments.world_size != world.size:
        raise RunError(
            f"{world.size} processes were started and {arguments.world_size} take part",
            why=f"the backend is {arguments.distributed_state.backend}",
            fix="start them with plugtune train under NPROC_PER_NODE, or with torchrun",
        )  # fmt: skip
    kind = arguments.device.type
    if arguments.fsdp and kind == "cpu" and arguments.fsdp_plugin_args["fsdp_version"] != 2:
        raise RequestError(
            "FSDP1 was asked for and this run computes on the CPU", where="fsdp_config",
            why="only FSDP2 shards there; with FSDP1 every process would silently keep a whole copy",
            fix="leave fsdp_version out, or set it to 2",
        )  # fmt: skip
    if world.size == 1 and os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true":
        plan.notes.append(
            "accelerate launch --cpu starts a single process, whatever num_processes says; "
            "for N processes use NPROC_PER_NODE=N plugtune train, or torchrun"
        )
    plan.choose("devices", describe(arguments, world), _why(world))


def describe(arguments: Any, world: World) -> str:
    """`2 processes on 1 machine, cpu (gloo)`."""
    kind = arguments.device.type
    if world.size == 1:
        return f"1 process, {kind}"
    machines = f"{world.nodes} machine" + ("s" if world.nodes > 1 else "")
    return f"{world.size} processes on {machines}, {kind} ({arguments.distributed_state.backend})"


def _why(world: World) -> str:
    return "started by a launcher" if world.size > 1 else "one device, or none"


def check_strategy(trainer: Any, arguments: Any) -> str:
    """How the processes share the work, as the trainer ended up doing it.

    Raises:
        RunError: sharding was asked for and is not what happens.
    """
    found = str(getattr(trainer.accelerator.distributed_type, "value", trainer.accelerator.distributed_type))
    for asked, name in ((arguments.fsdp, "FSDP"), (arguments.deepspeed, "DEEPSPEED")):
        if asked and found != name:
            raise RunError(
                f"{name} was asked for and the processes run {found}", why="the libraries below dropped it silently",
                fix="check the installation, or leave the option out",
            )  # fmt: skip
    plain = {"NO": "one process", "FSDP": "fully sharded (FSDP)", "DEEPSPEED": "DeepSpeed"}
    return plain.get(found, "data parallel (DDP)")


def as_json(arguments: Any, world: World, strategy: str) -> dict[str, Any]:
    """What `run.json` says about the processes."""
    return {
        "processes": world.size,
        "machines": world.nodes,
        "device": arguments.device.type,
        "backend": getattr(arguments.distributed_state, "backend", None),
        "strategy": strategy,
    }
