"""FSDP2 and ZeRO among processes that compute on the CPU, which accelerate leaves out.

`AcceleratorState.__init__` (accelerate 1.x, state.py) turns `MULTI_GPU` and its kin into `FSDP` when a plugin is given
and not `MULTI_CPU`: every process then silently keeps a whole copy. Everything behind that choice, `fully_shard`,
saving and loading included, works over gloo, so the choice is made here after the fact. `PartialState.__init__`
likewise lets DeepSpeed meet its processes only on accelerators; ZeRO-3 asks for them while the model is loaded, and
would count one. Accelerators are left alone.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
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


def let_deepspeed_meet(arguments: Any) -> None:
    """Tell DeepSpeed of the processes that have met already, before a model is loaded in pieces.

    Its first use on a machine compiles an operator for CPU processes, which it prints; a run's answer is alone on
    standard output, so that goes to where messages go.
    """
    import torch

    if not arguments.deepspeed or not torch.distributed.is_initialized():
        return
    with redirect_stdout(sys.stderr):
        from deepspeed import comm

        if not comm.is_initialized():
            comm.init_distributed(torch.distributed.get_backend(), auto_mpi_discovery=False, verbose=False)
