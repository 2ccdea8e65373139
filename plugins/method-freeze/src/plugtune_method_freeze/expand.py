"""Block expansion of LLaMA Pro (arXiv:2401.02415): copies of blocks that add nothing until they are trained.

Behind every group of n / k of the n blocks a copy of the group's last one is put, whose output projections (of
attention and of the feed-forward part) are zero: through the residual path the copy hands on what it gets, so the
expanded model computes exactly what the original does. `use_llama_pro` then trains the copies alone.
"""

from __future__ import annotations

import copy
from typing import Any

from plugtune import RequestError
from plugtune.inference.export import ExportContext, ExportReport, new_folder, tuned_model

OUTPUTS = ("o_proj", "down_proj")
"""Names of the projections that write into the residual path."""


def export(context: ExportContext) -> ExportReport:
    """Write the expanded model folder.

    Raises:
        RequestError: the model cannot be expanded this way, or the folder is taken.
    """
    model = expand(tuned_model(context), context.options.expand_blocks, path_of(context))
    with new_folder(context.export_dir) as staging:
        model.save_pretrained(staging, max_shard_size=int(context.shard_bytes))
        if context.template is not None:
            context.tokenizer.chat_template = context.template.chat_template()
        context.tokenizer.save_pretrained(staging)
    files = sorted(path.name for path in context.export_dir.glob("*.safetensors"))
    total = sum((context.export_dir / name).stat().st_size for name in files)
    note = "train the new blocks with --finetuning_type freeze --use_llama_pro true --freeze_trainable_layers "
    return ExportReport(context.export_dir, files, total, (note + str(context.options.expand_blocks),))


def path_of(context: ExportContext) -> str:
    """Where the family keeps its blocks."""
    return context.located.family.blocks if context.located.family else "model.layers"


def expand(model: Any, count: int, path: str) -> Any:
    """The model with `count` more blocks that change nothing yet.

    Raises:
        RequestError: the blocks cannot be grouped so, or have no output projections of the usual names.
    """
    import torch

    blocks = model.get_submodule(path)
    if count < 1 or len(blocks) % count:
        raise RequestError(f"{len(blocks)} blocks cannot be expanded by {count}", where="expand_blocks",
                           fix="give a number that divides the number of blocks")  # fmt: skip
    config = model.config.get_text_config()
    group, grown = len(blocks) // count, []
    for place, block in enumerate(blocks):
        grown.append(block)
        if (place + 1) % group == 0:
            grown.append(_silent(copy.deepcopy(block)))
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == len(blocks):  # one entry for each block, such as layer_types
            times = [2 if (place + 1) % group == 0 else 1 for place in range(len(value))]
            setattr(config, name, [entry for entry, count in zip(value, times, strict=True) for _ in range(count)])
    config.num_hidden_layers = len(grown)
    parent, _, last = path.rpartition(".")
    setattr(model.get_submodule(parent), last, torch.nn.ModuleList(grown))
    return model


def _silent(block: Any) -> Any:
    outputs = [module for name, module in block.named_modules() if name.rpartition(".")[2] in OUTPUTS]
    if len(outputs) != len(OUTPUTS):
        raise RequestError(
            "the blocks of this model cannot be made silent", where="expand_blocks",
            why=f"one {' and one '.join(OUTPUTS)} are looked for in a block, and {len(outputs)} were found",
        )  # fmt: skip
    for module in outputs:
        for parameter in module.parameters():
            parameter.data.zero_()
    return block
