"""How much is trained, for estimates of memory. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from plugtune.modeling.memory import Trained
from plugtune.modeling.shape import Shape


def sizes(shape: Shape, options: Any) -> Trained:
    """The chosen blocks, and embeddings or head when they are among the extra modules.

    The backward pass goes from the top down to the first trained block, so the first blocks cost most.
    """
    count = min(abs(options.freeze_trainable_layers), shape.layers)
    wanted = options.freeze_trainable_modules
    linears = [x for x in shape.linears if "all" in wanted or x.name in wanted or _room(x.name) in wanted]
    norms = 2 * shape.hidden if "all" in wanted else 0
    extra = set(options.freeze_extra_modules)
    embeddings, head = "embed_tokens" in extra, "lm_head" in extra or (shape.tied and "embed_tokens" in extra)
    parameters = count * (sum(x.size for x in linears) + norms)
    parameters += shape.embedding * embeddings + shape.head * head
    first = options.freeze_trainable_layers < 0 or embeddings
    return Trained(parameters, blocks=shape.layers if first else count, embeddings=embeddings, head=head)


def _room(name: str) -> str:
    return "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn"
