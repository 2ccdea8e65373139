"""The reference model: which one a run has. One rule for every stage that holds its policy to one.

The reference is the model that `ref_model` names (with `ref_model_adapters`), else **the policy as the run starts**:
base and given adapters, before the first step. A stage that asks it for all rows before training asks the policy itself
(`before_training`); one that asks it all along keeps what it takes (`lasting`): the base under an adapter that starts
as nothing, a frozen copy of an adapter that goes on from earlier training, a copy of a model without adapters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from plugtune.modeling import adapters
from plugtune.modeling.frozen import load_frozen_model
from plugtune.training import attention
from plugtune.training.context import TrainerContext

NAME = "reference"
START = "the model that the run starts from"


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, and what must be switched while it is the reference."""

    model: Any
    scope: Callable[[], AbstractContextManager[Any]]
    end_to_end: bool


def describe(context: TrainerContext) -> str:
    """The reference of a run in words, for the plan."""
    options = context.plan.stage_options
    if not options.ref_model:
        return START
    named = f" with {', '.join(options.ref_model_adapters)}" if options.ref_model_adapters else ""
    return f"{options.ref_model}{named}"


def lasting(context: TrainerContext, policy: Any, *, end_to_end: bool) -> Reference:
    """The reference of a policy that has not been trained yet, which stays as it is while that one is trained.

    Args:
        context: the run; its stage has the options `ref_model`, `ref_model_adapters`, `ref_model_quantization_bit`.
        policy: the language model to be trained, adapters included.
        end_to_end: whether the policy takes rows laid end to end.

    Raises:
        RequestError: `ref_model` or its adapters cannot be loaded.
    """
    plan = context.plan
    if plan.stage_options.ref_model:
        plan.choose("reference", describe(context), "ref_model")
        return _named(context, policy)
    if not adapters.has_adapters(policy):
        plan.choose("reference", START, "kept as a copy of the model")
        model = copy.deepcopy(policy)
        model.requires_grad_(False)
        return _alone(model, policy)
    if adapters.changes_nothing(policy):
        plan.choose("reference", START, "the adapter is new, so it is the base with the adapter off")
        return Reference(policy, policy.disable_adapter, end_to_end)
    adapters.copy_frozen(policy, NAME)
    plan.choose("reference", START, "kept as a frozen copy of the adapter, which goes on from earlier training")
    return Reference(policy, lambda: adapters.using(policy, NAME), end_to_end)


@contextmanager
def before_training(context: TrainerContext) -> Iterator[Any]:
    """The reference in evaluation mode, before the first step; the policy is as it was when the block ends.

    Raises:
        RequestError: `ref_model` or its adapters cannot be loaded.
    """
    policy = context.model
    model = _named(context, policy).model if context.plan.stage_options.ref_model else policy
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


def _named(context: TrainerContext, policy: Any) -> Reference:
    options = context.plan.stage_options
    base = policy.get_base_model() if hasattr(policy, "get_base_model") else policy
    model, _ = load_frozen_model(
        options.ref_model, context.host, context.plan.model, where="ref_model", adapters=options.ref_model_adapters,
        bits=options.ref_model_quantization_bit, dtype=str(base.dtype).removeprefix("torch."),
        vocabulary=len(context.tokenizer),
    )  # fmt: skip
    return _alone(model, policy, move=not options.ref_model_quantization_bit)


def _alone(model: Any, policy: Any, *, move: bool = True) -> Reference:
    if move:
        model.to(next(policy.parameters()).device)
    model.eval()
    return Reference(model, nullcontext, attention.enable(model))
