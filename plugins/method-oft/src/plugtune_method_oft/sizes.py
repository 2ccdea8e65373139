"""How much is trained, for estimates of memory. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from plugtune.modeling.memory import Trained
from plugtune.modeling.shape import Shape


def sizes(shape: Shape, options: Any) -> Trained:
    """A skew-symmetric matrix for each block of each target's inputs, and whole copies of additional targets."""
    targets = set(options.oft_target)
    every = bool(targets & {"all"}) or not any(x.name in targets for x in shape.linears)
    chosen = [x for x in shape.linears if every or x.name in targets]
    count = shape.layers * sum(_of_layer(x.inputs, options) * x.count for x in chosen)
    extra = set(options.additional_target)
    whole = shape.embedding * (("embed_tokens" in extra) + ("lm_head" in extra))
    share = sum(x.inputs for x in chosen) / sum(x.inputs for x in shape.linears)
    return Trained(
        count + whole, adapters=count + whole, blocks=shape.layers, whole=False, inputs=share,
        embeddings="embed_tokens" in extra, head="lm_head" in extra,
    )  # fmt: skip


def _of_layer(inputs: int, options: Any) -> int:
    """b (b - 1) / 2 numbers for each of inputs / b blocks."""
    size = _divisor(inputs, options.oft_block_size) if options.oft_block_size else 0
    size = size or inputs // _divisor(inputs, options.oft_rank)
    return inputs // size * (size * (size - 1) // 2)


def _divisor(inputs: int, wanted: int) -> int:
    """The divisor of `inputs` nearest to `wanted`, the smaller of two, as peft chooses it."""
    if wanted >= inputs:
        return inputs
    divisors = [number for number in range(1, inputs + 1) if inputs % number == 0]
    return min(divisors, key=lambda number: (abs(number - wanted), number))
