"""Which parts of a model compute alike, so that one of them answers for all when a model is asked how it computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# What says where a layer stands, not how it computes.
PLACE = frozenset({"layer_idx", "layer_id", "layer_index", "layer_number", "block_idx", "idx", "i"})
_PLAIN = (bool, int, float, str, type(None), torch.dtype)


def signature(module: torch.nn.Module) -> tuple[Any, ...]:
    """What decides how a module computes besides the values of its tensors and its place in the model.

    Equal for two modules: the classes, the plain attributes (numbers, words, and lists and dicts of them), the shapes
    and types of the tensors, the number of hooks, and whether a forward pass was replaced, of all their parts.
    """
    return tuple((name, *_own(part)) for name, part in module.named_modules())


def _own(part: torch.nn.Module) -> tuple[Any, ...]:
    state = vars(part)
    plain = tuple(sorted((k, repr(v)) for k, v in state.items() if k not in PLACE and _is_plain(v)))
    tensors = tuple(
        (name, tuple(tensor.shape), tensor.dtype, tensor.requires_grad)
        for name, tensor in (*part._parameters.items(), *part._buffers.items())
        if tensor is not None
    )
    hooks = (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks))
    return type(part), plain, tensors, hooks, "forward" in state


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, _PLAIN) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


@contextmanager
def shortened(model: Any) -> Iterator[bool]:
    """While it lasts, a model computes with only so many of its first layers that each kind of layer is among them.

    Says whether it does. Works for decoders with `layers` that stop at `config.num_hidden_layers`, as those of
    transformers do; the others stay whole.
    """
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    layers: Any = getattr(decoder, "layers", None)
    config: Any = getattr(decoder, "config", None)
    whole = getattr(config, "num_hidden_layers", None)
    if not isinstance(layers, torch.nn.ModuleList) or whole != len(layers):
        yield False
        return
    kinds: dict[tuple[Any, ...], int] = {}
    for index, layer in enumerate(layers):
        kinds.setdefault(signature(layer), index)
    enough = max(kinds.values()) + 1
    if enough == whole:
        yield False
        return
    config.num_hidden_layers = enough
    try:
        yield True
    finally:
        config.num_hidden_layers = whole
