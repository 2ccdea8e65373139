"""A launcher for Ray clusters: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plugtune


@dataclass
class RayOptions:
    """Where the processes run on the cluster, with LLaMA-Factory's names."""

    ray_num_workers: int = plugtune.option(1, help="Processes of the run, on all machines together.", minimum=1)
    resources_per_worker: dict[str, Any] | None = plugtune.option(
        None, help='What each process reserves ({"GPU": 1}); a GPU where the cluster has any, else a CPU.'
    )
    placement_strategy: str = plugtune.option(
        "PACK",
        help="Processes on few machines (PACK), one (STRICT_PACK), many (SPREAD), or one each (STRICT_SPREAD).",
        choices=("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"),
    )
    ray_init_kwargs: dict[str, Any] | None = plugtune.option(
        None, help='Arguments of ray.init ({"address": "auto"}, a runtime_env ...).'
    )
    ray_run_name: str | None = plugtune.option(None, help="Name of the placement group in Ray's dashboard.")
    ray_storage_path: str | None = plugtune.option(
        None, help="Read from LLaMA-Factory's files, without effect: everything is written to output_dir."
    )
    ray_storage_filesystem: str | None = plugtune.option(None, help="Like ray_storage_path.")
    ray_start_timeout: float = plugtune.option(600.0, help="Seconds to wait for free resources.", minimum=0)
    master_addr: str | None = plugtune.option(None, help="Where processes meet; the machine of process 0 if left out.")
    master_port: int | None = plugtune.option(
        None, help="Port there; a free one if left out.", minimum=1, maximum=65535
    )


@plugtune.hookimpl
def plugtune_launchers() -> list[plugtune.Launcher]:
    """The launcher `ray`."""
    return [
        plugtune.Launcher(
            name="ray",
            summary="Start the processes on a Ray cluster",
            options=RayOptions,
            switch="USE_RAY",
            processes="plugtune_launch_ray.launch:processes",
            start="plugtune_launch_ray.launch:start",
            checks="plugtune_launch_ray.checks:checks",
        )
    ]
