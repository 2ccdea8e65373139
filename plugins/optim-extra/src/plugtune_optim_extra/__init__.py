"""GaLore, APOLLO and Muon: their options and where their code is. Imports nothing heavy."""

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


@plugtune.hookimpl
def plugtune_optimizers() -> list[plugtune.Optimizer]:
    """The optimizers `galore`, `apollo` and `muon`."""
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
    ]  # fmt: skip
