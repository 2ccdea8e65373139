"""FSDP2 among processes that compute on the CPU, which accelerate leaves out.

`AcceleratorState.__init__` (accelerate 1.x, state.py) turns `MULTI_GPU` and its kin into `FSDP` when a plugin is given
and not `MULTI_CPU`: every process then silently keeps a whole copy. Everything behind that choice, `fully_shard`,
saving and loading included, works over gloo, so the choice is made here after the fact. Accelerators are left alone.
"""

from __future__ import annotations

from typing import Any


def shard_on_cpu(trainer: Any) -> None:
    """Let a trainer's accelerator shard with FSDP2, where that was asked for and the processes are CPU ones."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    settings, state = trainer.args.fsdp_plugin_args, trainer.accelerator.state
    if settings is None or state.distributed_type != DistributedType.MULTI_CPU:
        return
    plugin = FullyShardedDataParallelPlugin(**settings)
    if state.mixed_precision != "no":
        plugin.set_mixed_precision(state.mixed_precision)
    state.fsdp_plugin = plugin
    state.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    trainer.is_fsdp_enabled = True
