"""Weights that DeepSpeed's ZeRO-3 has cut up among processes: counting them, and computing with them before training.

From loading on such a weight is an empty tensor that knows its shape; DeepSpeed's engine puts it together inside the
model's forward pass, and only once training has begun. What core asks a model before that goes through here. Nothing
is imported unless a weight is cut up, which is seen by the attributes that DeepSpeed gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def cut_up(parameter: Any) -> bool:
    """Whether a weight is spread over the processes by ZeRO-3."""
    return hasattr(parameter, "ds_id")


def shape_of(parameter: Any) -> tuple[int, ...]:
    """The shape of the whole weight."""
    return tuple(parameter.ds_shape if cut_up(parameter) else parameter.shape)


def count(parameters: Iterable[Any]) -> int:
    """How many numbers the whole weights hold."""
    return sum(int(p.ds_numel) if cut_up(p) else p.numel() for p in parameters)


@contextmanager
def whole(parameters: Iterable[Any], *, changed: bool = False) -> Iterator[None]:
    """Put weights together for a while; every process must call it.

    Args:
        parameters: weights, cut up or not.
        changed: whether the first process changes them, which all of them get then.
    """
    cut = [p for p in parameters if cut_up(p)]
    if not cut:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(cut, modifier_rank=0 if changed else None):
        yield


@contextmanager
def layer_by_layer(model: Any) -> Iterator[None]:
    """Let a model compute before DeepSpeed's engine exists: each module's own weights are whole while it runs.

    No more than one module's weights are whole at a time, so a model that does not fit on one device can be asked. A
    weight that several modules use (tied embeddings) is put together by each.
    """
    open_now: dict[int, list[Any]] = {}
    hooks = []

    def before(module: Any, *_: Any) -> None:
        context = whole(module.parameters(recurse=False))
        context.__enter__()
        open_now.setdefault(id(module), []).append(context)

    def after(module: Any, *_: Any) -> None:
        open_now[id(module)].pop().__exit__(None, None, None)

    for module in model.modules():
        if any(cut_up(p) for p in module.parameters(recurse=False)):
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
