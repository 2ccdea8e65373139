"""GaLore and APOLLO through their authors' packages: low-rank groups for matrices, plain Adam for the rest."""

from __future__ import annotations

from typing import Any

from plugtune_optim_extra.groups import decayed, split


def galore(model: Any, arguments: Any, options: Any) -> Any:
    """Adam whose states of target matrices live in a space of rank `galore_rank`."""
    from galore_torch import GaLoreAdamW

    low = {"rank": options.galore_rank, "update_proj_gap": options.galore_update_interval,
           "scale": options.galore_scale, "proj_type": options.galore_proj_type}  # fmt: skip
    return _optimizer(GaLoreAdamW, model, arguments, options.galore_target, "galore_target", low)


def apollo(model: Any, arguments: Any, options: Any) -> Any:
    """AdamW whose step of target matrices is the raw gradient, scaled as a low-rank Adam would scale it."""
    from apollo_torch import APOLLOAdamW

    low = {"rank": options.apollo_rank, "update_proj_gap": options.apollo_update_interval,
           "scale": options.apollo_scale, "proj": options.apollo_proj, "proj_type": options.apollo_proj_type,
           "scale_type": options.apollo_scale_type}  # fmt: skip
    return _optimizer(
        APOLLOAdamW,
        model,
        arguments,
        options.apollo_target,
        "apollo_target",
        low,
        scale_front=options.apollo_scale_front,
    )


def _optimizer(
    kind: Any, model: Any, arguments: Any, targets: list[str], option: str, low: dict[str, Any], **more: Any
) -> Any:
    matrices, rest = split(model, targets, option)
    groups = [
        *decayed(rest, arguments.weight_decay),
        {"params": matrices, "weight_decay": arguments.weight_decay, **low},
    ]
    return kind(
        groups, lr=arguments.learning_rate, betas=(arguments.adam_beta1, arguments.adam_beta2),
        eps=arguments.adam_epsilon, **more,
    )  # fmt: skip
