"""GaLore, APOLLO, Muon, BAdam and Adam-mini: their options and where their code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class GaloreOptions:
    """GaLore's options (arXiv:2403.03507), with LLaMA-Factory's names and defaults."""

    use_galore: bool = plugtune.option(False, help="Adam on gradients projected to a low rank.")
    galore_target: list[str] = plugtune.option(
        ["all"], help="Modules whose gradients are projected, or all linear ones."
    )
    galore_rank: int = plugtune.option(16, help="Rank of the projection.", minimum=1)
    galore_update_interval: int = plugtune.option(200, help="Steps between new projections.", minimum=1)
    galore_scale: float = plugtune.option(2.0, help="Scale of projected updates.", minimum=0)
    galore_proj_type: str = plugtune.option(
        "std", help="Which side is projected.", choices=("std", "reverse_std", "right", "left", "full")
    )


@dataclass
class ApolloOptions:
    """APOLLO's options (arXiv:2412.05270), with LLaMA-Factory's names and defaults."""

    use_apollo: bool = plugtune.option(False, help="Learning rates scaled by a low-rank projection of the gradients.")
    apollo_target: list[str] = plugtune.option(["all"], help="Modules that are scaled so, or all linear ones.")
    apollo_rank: int = plugtune.option(16, help="Rank of the projection.", minimum=1)
    apollo_update_interval: int = plugtune.option(200, help="Steps between new projections.", minimum=1)
    apollo_scale: float = plugtune.option(32.0, help="Scale of the updates.", minimum=0)
    apollo_proj: str = plugtune.option("random", help="Kind of projection.", choices=("random", "svd"))
    apollo_proj_type: str = plugtune.option("std", help="Which side is projected.", choices=("std", "right", "left"))
    apollo_scale_type: str = plugtune.option("channel", help="What shares a scale.", choices=("channel", "tensor"))
    apollo_scale_front: bool = plugtune.option(False, help="Limit the growth of norms before scaling.")


@dataclass
class MuonOptions:
    """Muon's options; the momentum is the paper's 0.95, the learning rate that of the run."""

    use_muon: bool = plugtune.option(False, help="Orthogonalised momentum for weight matrices, AdamW for the rest.")


@dataclass
class BadamOptions:
    """BAdam's options (arXiv:2404.02827), with LLaMA-Factory's names and defaults; its layer mode."""

    use_badam: bool = plugtune.option(False, help="Adam on one block of the model at a time.")
    badam_mode: str = plugtune.option("layer", help="What a block is: a layer of the decoder.", choices=("layer",))
    badam_start_block: int | None = plugtune.option(None, help="Number of the first block.", minimum=0)
    badam_switch_mode: str = plugtune.option(
        "ascending", help="Which block comes next.", choices=("ascending", "descending", "random", "fixed")
    )
    badam_switch_interval: int = plugtune.option(50, help="Steps of a block before the next; -1 for no change.")
    badam_verbose: int = plugtune.option(0, help="1 to say when blocks change.", minimum=0, maximum=2)


@dataclass
class AdamMiniOptions:
    """Adam-mini's switch; betas and decay are those of the run."""

    use_adam_mini: bool = plugtune.option(False, help="Adam with one second moment a head, neuron or token.")


@plugtune.hookimpl
def plugtune_optimizers() -> list[plugtune.Optimizer]:
    """The optimizers `galore`, `apollo`, `muon`, `badam` and `adam-mini`."""
    return [
        plugtune.Optimizer(
            name="galore", summary="Adam on gradients projected to a low rank", options=GaloreOptions,
            switch="use_galore", build="plugtune_optim_extra.lowrank:galore",
            checks="plugtune_optim_extra.checks:galore",
        ),
        plugtune.Optimizer(
            name="apollo", summary="Learning rates scaled by a low-rank projection", options=ApolloOptions,
            switch="use_apollo", build="plugtune_optim_extra.lowrank:apollo",
            checks="plugtune_optim_extra.checks:apollo",
        ),
        plugtune.Optimizer(
            name="muon", summary="Orthogonalised momentum for matrices, AdamW for the rest", options=MuonOptions,
            switch="use_muon", build="plugtune_optim_extra.muon:muon",
        ),
        plugtune.Optimizer(
            name="badam", summary="Adam on one block of the model at a time", options=BadamOptions,
            switch="use_badam", build="plugtune_optim_extra.blocks:badam", checks="plugtune_optim_extra.checks:badam",
        ),
        plugtune.Optimizer(
            name="adam-mini", summary="Adam with one second moment a head, neuron or token", options=AdamMiniOptions,
            switch="use_adam_mini", build="plugtune_optim_extra.mini:adam_mini",
            checks="plugtune_optim_extra.checks:adam_mini",
        ),
    ]  # fmt: skip
