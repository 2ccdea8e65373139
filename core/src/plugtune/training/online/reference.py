"""The policy before training, which the trained one is held to by a KL penalty, in the least memory.

With an adapter, the base under it is the reference if the adapter starts as nothing; an adapter that goes on from
earlier training is kept as a frozen copy beside itself, so that the penalty is measured from where training starts.
Without an adapter the model is copied. `ref_model` overrules both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from plugtune.modeling import adapters
from plugtune.modeling.frozen import load_frozen_model
from plugtune.training import attention
from plugtune.training.context import TrainerContext

NAME = "reference"


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, and what must be switched while it is the reference."""

    model: Any
    scope: Callable[[], AbstractContextManager[Any]]
    end_to_end: bool


def make_reference(context: TrainerContext, policy: Any, options: Any, *, end_to_end: bool) -> Reference:
    """The reference of a policy that has not been trained yet; says in the plan which one.

    Args:
        context: the run.
        policy: the language model to be trained, adapters included.
        options: `ScoringOptions` of the stage.
        end_to_end: whether the policy takes rows laid end to end.
    """
    plan = context.plan
    if options.ref_model:
        model, folders = load_frozen_model(
            options.ref_model, context.host, plan.model, where="ref_model", adapters=options.ref_model_adapters,
            bits=options.ref_model_quantization_bit,
        )  # fmt: skip
        plan.choose("reference", folders[0], "ref_model")
        return _alone(model, policy)
    if not adapters.has_adapters(policy):
        plan.choose("reference", "a copy of the model", "the model before training")
        model = copy.deepcopy(policy)
        model.requires_grad_(False)
        return _alone(model, policy)
    if adapters.changes_nothing(policy):
        plan.choose("reference", "the base, adapter off", "the adapter is new")
        return Reference(policy, policy.disable_adapter, end_to_end)
    adapters.copy_frozen(policy, NAME)
    plan.choose("reference", "a frozen copy of the adapter", "the adapter goes on from earlier training")
    return Reference(policy, lambda: adapters.using(policy, NAME), end_to_end)


def _alone(model: Any, policy: Any) -> Reference:
    model.to(next(policy.parameters()).device)
    model.eval()
    return Reference(model, nullcontext, attention.enable(model))
