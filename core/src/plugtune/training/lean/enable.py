"""Switches a model's adapted layers, gated blocks and normalisations to their lean forms, where those compute the same.

A module is asked, not its name: its own answer and the lean one are compared on random input. Modules that compute
alike are asked once.
"""

from __future__ import annotations

from typing import Any

import torch

from plugtune.modeling.alike import signature
from plugtune.training.lean import gated, layer, norm, rotary
from plugtune.training.lean.inputs import Inputs

# How published models name the three layers of a gated block, and its activation.
LAYERS = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
ACTIVATIONS = ("act_fn", "act", "activation_fn", "hidden_act")
# Input of ordinary size, and large enough that a block which limits its values shows it.
SCALES = (1.0, 300.0)
# Small enough that the place of the epsilon shows, and large.
NORM_SCALES = (1e-3, 1.0, 300.0)


def enable(model: Any) -> int:
    """Switch what can be switched; returns how many modules were.

    Args:
        model: any model, with or without adapters; calling again changes nothing.
    """
    rotary.enable(model)
    inputs = Inputs()
    done = 0
    asked: dict[Any, Any] = {}
    for module in model.modules():
        if "forward" in vars(module):
            continue
        block = _block_of(module, asked)
        if block is not None:
            module.forward = gated.LeanGated(block, module.forward, inputs).forward
            done += 1
        elif (epsilon := _epsilon_of(module, asked)) is not None:
            module.forward = norm.LeanNorm(module, module.forward, epsilon).forward
            done += 1
        elif (adapted := _is_adapted(module)) or type(module) is torch.nn.Linear:
            module.forward = layer.LeanLinear(module, module.forward, inputs).forward
            done += adapted  # whether a plain layer has something to gain depends on its input
    return done


def _is_adapted(module: Any) -> bool:
    return hasattr(module, "lora_A") and type(getattr(module, "base_layer", None)) is torch.nn.Linear


def _block_of(module: Any, asked: dict[Any, Any]) -> gated.Gated | None:
    """The gated block that a module is, if its answer is that of one."""
    layers = next((three for three in (_layers(module, names) for names in LAYERS) if three), None)
    if layers is None:
        return None
    gate, up, down = layers
    kind = signature(module)
    if kind not in asked:
        activation = next((a for name in ACTIVATIONS if (a := _activation(getattr(module, name, None)))), None)
        same = activation is not None and all(
            _agree(module, gated.Gated(gate, up, down, activation), scale) for scale in SCALES
        )
        asked[kind] = activation if same else None
    known = asked[kind]
    return gated.Gated(gate, up, down, known) if known is not None else None


def _epsilon_of(module: Any, asked: dict[Any, Any]) -> float | None:
    """The epsilon of a root-mean-square normalisation, if the module's answer is that of one."""
    epsilon = norm.epsilon_of(module)
    if epsilon is None:
        return None
    kind = signature(module)
    if kind not in asked:
        asked[kind] = epsilon if all(_normalises(module, epsilon, scale) for scale in NORM_SCALES) else None
    known: float | None = asked[kind]
    return known


@torch.no_grad()
def _normalises(module: Any, epsilon: float, scale: float) -> bool:
    """Whether module and lean form answer the same to input of this size."""
    weight = module.weight
    generator = torch.Generator().manual_seed(0)
    x = (scale * torch.randn(3, weight.shape[0], generator=generator)).to(weight.device, weight.dtype)
    try:
        own = module(x)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    lean = norm.LeanNorm(module, module.forward, epsilon).answer(x)
    if not isinstance(own, torch.Tensor) or own.dtype != lean.dtype or own.shape != lean.shape:
        return False
    tolerance = 1e-6 if weight.dtype == torch.float32 else 1e-2
    return bool((own - lean).abs().max() <= tolerance * own.abs().max().clamp(min=1e-12))


def _layers(module: Any, names: tuple[str, ...]) -> list[Any]:
    layers = [getattr(module, name, None) for name in names]
    return layers if all(isinstance(part, torch.nn.Module) and hasattr(part, "in_features") for part in layers) else []


@torch.no_grad()
def _activation(function: Any) -> gated.Activation | None:
    """The known activation that a function is."""
    if not callable(function):
        return None
    x = torch.linspace(-6, 6, 97)
    try:
        own = function(x)
    except (RuntimeError, TypeError, ValueError):
        return None
    same = (a for a in gated.KNOWN if isinstance(own, torch.Tensor) and torch.allclose(own, a.forward(x), atol=1e-6))
    return next(same, None)


@torch.no_grad()
def _agree(module: Any, block: gated.Gated, scale: float) -> bool:
    """Whether module and block answer the same to input of this size, computed as training will."""
    dtypes = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if not dtypes:
        return False  # quantized
    lowest = min(dtypes, key=lambda dtype: torch.finfo(dtype).bits)
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = (scale * torch.randn(3, block.gate.in_features, generator=generator)).to(device)
    # Wide adapters beside narrow weights are only computed under autocast.
    x = x if len(dtypes) > 1 else x.to(lowest)
    try:
        with torch.autocast(device.type, dtype=lowest, enabled=len(dtypes) > 1):
            own, lean = module(x), block(x, Inputs())
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    if lean is None or not isinstance(own, torch.Tensor):
        return False
    tolerance = 1e-5 if lowest == torch.float32 else 2e-2
    return bool((own - lean).abs().max() <= tolerance * own.abs().max().clamp(min=1e-6))
