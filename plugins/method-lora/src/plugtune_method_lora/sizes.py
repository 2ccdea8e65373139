"""How much is trained, for estimates of memory. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from plugtune.modeling.memory import Trained
from plugtune.modeling.shape import Shape


def sizes(shape: Shape, options: Any) -> Trained:
    """Two thin matrices beside each target, and whole copies of additional targets."""
    targets = set(options.lora_target)
    every = bool(targets & {"all"}) or not any(x.name in targets for x in shape.linears)
    chosen = [x for x in shape.linears if every or x.name in targets]
    count = options.lora_rank * shape.layers * sum((x.inputs + x.outputs) * x.count for x in chosen)
    if options.use_dora:
        count += shape.layers * sum(x.outputs * x.count for x in chosen)
    extra = set(options.additional_target)
    whole = shape.embedding * (("embed_tokens" in extra) + ("lm_head" in extra))
    share = sum(x.inputs for x in chosen) / sum(x.inputs for x in shape.linears)
    return Trained(
        count + whole, adapters=count + whole, blocks=shape.layers, whole=False, inputs=share,
        embeddings="embed_tokens" in extra, head="lm_head" in extra,
    )  # fmt: skip
