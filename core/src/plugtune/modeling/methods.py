"""What a tuning method is given, and what several methods need: finding linear layers and naming targets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugtune.capabilities import ModelFamily
from plugtune.errors import RequestError, did_you_mean
from plugtune.modeling.zero import count, cut_up, shape_of
from plugtune.options.groups import ModelOptions


@dataclass(frozen=True, slots=True)
class MethodContext:
    """What `TuningMethod.prepare(model, context)` may use.

    Attributes:
        options: the method's own options object.
        model_options: core's model options.
        family: the family that claims the model, if any.
        adapters: folders of adapters to continue or stack.
        training: whether the model will be trained (else only loaded for evaluation).
        pure_bf16: whether trained weights stay in bf16.
        checkpointing: whether activations are recomputed.
        autocast: name of the dtype that linear layers compute in (mixed precision), empty without it.
    """

    options: Any
    model_options: ModelOptions
    family: ModelFamily | None = None
    adapters: Sequence[Path] = field(default_factory=tuple)
    training: bool = True
    pure_bf16: bool = False
    checkpointing: bool = False
    autocast: str = ""


EXPERT_PARTS = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})
"""Names that peft takes for parts of routed experts in a model that has any (`utils.transformers_weight_conversion`
maps them to joint tensors), although shared experts and dense layers use them too."""


def is_linear(module: Any) -> bool:
    """Whether a module is a linear layer, GPT-2's way of writing one included."""
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def text_part(model: Any) -> str:
    """Dotted path of the text model inside one that also sees or hears; empty for a model of text alone."""
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "get_text_config") or config.get_text_config(decoder=True) is config:
        return ""
    decoder = model.get_decoder()
    return next(name for name, module in model.named_modules() if module is decoder)


def blocks_path(model: Any, family: ModelFamily | None) -> str:
    """Dotted path of the list of decoder blocks, in a model of text or of more."""
    path, inside = family.blocks if family else "model.layers", text_part(model)
    return f"{inside}.{path.rpartition('.')[2]}" if inside else path


def modules_outside_text(model: Any, targets: Sequence[str]) -> str | None:
    """A pattern of the modules that bare names must not reach: in what sees and hears layers are called the same."""
    inside = text_part(model)
    return rf"(?!{re.escape(inside)}\.).*" if inside and not any("." in target for target in targets) else None


def outside_text(model: Any) -> list[Any]:
    """Parameters that no text goes through: what sees and hears; none in a model of text alone."""
    inside, head = text_part(model), model.get_output_embeddings()
    used = {id(p) for p in head.parameters()} if head is not None else set()
    return [p for n, p in model.named_parameters() if inside and not n.startswith(f"{inside}.") and id(p) not in used]


def linear_names(model: Any, family: ModelFamily | None = None) -> list[str]:
    """Last names of the linear layers that `all` stands for, sorted (`q_proj`, `up_proj` …).

    Left out are the output head, what the family leaves alone, parts of experts where experts are routed, and what no
    text goes through.
    """
    head = model.get_output_embeddings()
    names, inside = set(), text_part(model)
    for name, module in model.named_modules():
        if inside and not name.startswith(f"{inside}."):
            continue
        last = name.rpartition(".")[2]
        # A layer in a list has a number for a name, which would match blocks too.
        if is_linear(module) and module is not head and not last.isdigit():
            names.add(last)
    experts = EXPERT_PARTS if any(is_expert(n, p) for n, p in model.named_parameters()) else frozenset()
    return sorted(names - {"lm_head", "score"} - set(family.unadapted if family else ()) - experts)


def is_expert(name: str, parameter: Any) -> bool:
    """Whether a parameter is a joint tensor of routed experts, `(experts, ., .)`."""
    return ".experts." in name and len(shape_of(parameter)) == 3


def frozen_experts(model: Any) -> int:
    """How many weights of routed experts are not trained: they are joined in tensors that no adapter reaches."""
    return count(p for name, p in model.named_parameters() if is_expert(name, p) and not p.requires_grad)


def check_targets(model: Any, targets: Sequence[str], family: ModelFamily | None, option: str) -> list[str]:
    """Target names that exist in the model; `all` and a family's original names are expanded.

    Raises:
        RequestError: a name matches nothing; offers near names.
    """
    names = {part for name, _ in model.named_modules() for part in (name, name.rpartition(".")[2]) if part}
    aliases = family.target_aliases if family else {}
    expanded: list[str] = []
    for target in targets:
        expanded += linear_names(model, family) if target == "all" else aliases.get(target, (target,))
    missing = [t for t in expanded if t not in names]
    if missing:
        linear = linear_names(model)
        near = did_you_mean(missing[0], linear)
        raise RequestError(
            f"the model has no module {', '.join(repr(m) for m in missing)}", where=option,
            fix=near or f"its linear layers are {', '.join(linear)} (or write all)",
        )  # fmt: skip
    return list(dict.fromkeys(expanded))


def trained_in_fp32(model: Any) -> None:
    """Keep trained weights in fp32: small updates vanish when they are added to half-precision weights."""
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad and not cut_up(parameter) and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()


def frozen_linears_in(model: Any, dtype: str) -> None:
    """Keep frozen linear layers in the dtype they compute in under autocast, instead of casting them in every pass.

    The numbers stay the same and the weights take half the memory. Layers that share their weight with an embedding
    stay as they are, because an embedding is not computed in the lower dtype. Outside autocast (rollouts, predictions)
    the layers cast what they are given and what they answer.
    """
    import torch

    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    for module in model.modules():
        if type(module) is not torch.nn.Linear or id(module.weight) in embeddings:
            continue
        if not any(p.requires_grad or cut_up(p) for p in module.parameters()):
            module.to(getattr(torch, dtype))
            module.forward = Casting(module, module.forward).forward  # type: ignore[method-assign]
    _let_go_of_the_file(model, getattr(torch, dtype))


def _let_go_of_the_file(model: Any, narrow: Any) -> None:
    """Copy what is wide and still a view of the checkpoint's file: one view keeps the whole of it in memory."""
    for parameter in model.parameters():
        wide = parameter.is_floating_point() and parameter.dtype != narrow and not cut_up(parameter)
        if wide and parameter.device.type == "cpu" and not parameter.requires_grad:
            parameter.data = parameter.data.clone()


@dataclass(frozen=True, slots=True)
class Casting:
    """A frozen layer's forward pass outside autocast: casts what it is given and what it answers.

    An object, not a closure, so that a deep copy of a model computes with its own weights.
    """

    layer: Any
    own: Callable[[Any], Any]

    def forward(self, input: Any) -> Any:
        """The layer's own answer, in the dtype of the input."""
        import torch

        dtype = self.layer.weight.dtype
        if input.dtype == dtype or torch.is_autocast_enabled(input.device.type):
            return self.own(input)
        return self.own(input.to(dtype)).to(input.dtype)


def rest_in_fp32(model: Any, *, linear: bool = False) -> None:
    """Everything but linear layers in fp32: what was loaded in a lower dtype and is not computed in it.

    Args:
        model: any model; quantized layers stay as they are.
        linear: linear layers too.
    """
    import torch

    spared = set() if linear else {id(p) for m in model.modules() if type(m) is torch.nn.Linear for p in m.parameters()}
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    for parameter in model.parameters():
        if cut_up(parameter):  # DeepSpeed decides in what its weights are kept
            continue
        if parameter.is_floating_point() and (id(parameter) not in spared or id(parameter) in embeddings):
            parameter.data = parameter.data.float()
