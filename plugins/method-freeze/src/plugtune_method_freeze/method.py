"""Some blocks are trained, the rest is frozen."""

from __future__ import annotations

from typing import Any

from plugtune import RequestError
from plugtune.modeling.methods import MethodContext, blocks_path, trained_in_fp32


def prepare(model: Any, context: MethodContext) -> Any:
    """The model with the chosen blocks and modules trained.

    Raises:
        RequestError: there are fewer blocks than asked for, or a module name matches nothing.
    """
    path = blocks_path(model, context.family)
    blocks = list(model.get_submodule(path))
    wanted = context.options.freeze_trainable_layers
    if not 0 < abs(wanted) <= len(blocks):
        raise RequestError(
            f"freeze_trainable_layers is {wanted} and the model has {len(blocks)} blocks",
            where="freeze_trainable_layers",
        )
    model.requires_grad_(False)
    if not context.training:
        return model
    chosen = _chosen(blocks, wanted, pro=context.options.use_llama_pro)
    for name in context.options.freeze_trainable_modules:
        _train([p for block in chosen for n, p in block.named_parameters() if name == "all" or name in n.split(".")],
               name, "freeze_trainable_modules")  # fmt: skip
    for name in context.options.freeze_extra_modules:
        _train([p for n, p in model.named_parameters() if name in n.split(".") and not n.startswith(f"{path}.")],
               name, "freeze_extra_modules")  # fmt: skip
    if not context.pure_bf16:
        trained_in_fp32(model)
    return model


def _chosen(blocks: list[Any], wanted: int, *, pro: bool) -> list[Any]:
    """The last or first blocks; with `pro` the last one of each of `wanted` groups, which expansion has added."""
    if not pro:
        return blocks[-wanted:] if wanted > 0 else blocks[:-wanted]
    if wanted < 0 or len(blocks) % wanted:
        raise RequestError(
            f"{len(blocks)} blocks are no {wanted} equal groups", where="freeze_trainable_layers",
            why="use_llama_pro trains the last block of each group",
            fix="give the number of blocks that were added: expand_blocks of the export",
        )  # fmt: skip
    return blocks[len(blocks) // wanted - 1 :: len(blocks) // wanted]


def _train(parameters: list[Any], name: str, option: str) -> None:
    if not parameters:
        raise RequestError(
            f"no module is named {name!r}", where=option, fix="plugtune show family NAME lists usual ones"
        )
    for parameter in parameters:
        parameter.requires_grad_(True)
