"""Merges with the whole model in memory, for checkpoints whose tensors transformers renames or joins while loading.

There the names in an adapter are those of the loaded model and not those of the files, so tensors cannot be merged one
by one; the library that renamed them writes them back. Adapters that are no LoRA are merged this way, too: how their
tensors become weights is peft's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from plugtune.inference.export import ExportContext

from plugtune_export_merged.adapter import Adapter


def is_renamed(model_type: str, adapters: Iterable[Adapter], held: set[str]) -> bool:
    """Whether transformers renames this type's tensors while loading, and the adapters change some of those.

    Older checkpoints (BLOOM, GPT-2) lack the first part of every name, which the library adds.
    """
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    missing = {name for adapter in adapters for name in adapter.names} - {"lm_head.weight"} - held
    shortened = all(name.partition(".")[2] in held for name in missing)
    return bool(missing) and (shortened or get_checkpoint_conversion_mapping(model_type) is not None)


def merge_whole(context: ExportContext, folder: Path) -> tuple[list[str], int]:
    """Load, merge and save; returns the weight files and their bytes.

    Raises:
        RequestError: the base cannot be loaded, or an adapter does not fit it.
    """
    from peft import PeftModel
    from plugtune import RequestError
    from plugtune.modeling.load import load_model
    from plugtune.modeling.request import ModelRequest

    dtype = context.dtype if context.dtype != "auto" else str(context.located.config.get("dtype") or "float32")
    model = load_model(ModelRequest(context.located, context.model_options, dtype), context.host)
    for path in context.adapters:
        try:
            model = PeftModel.from_pretrained(model, str(path)).merge_and_unload()
        except (RuntimeError, ValueError, KeyError) as error:
            raise RequestError(
                f"adapter {path} does not fit the model", where="adapter_name_or_path", why=str(error).split("\n")[0],
                fix="give the base model that it was trained on",
            ) from error  # fmt: skip
    model.save_pretrained(folder, max_shard_size=int(context.shard_bytes))
    files = sorted(folder.glob("*.safetensors"))
    return [file.name for file in files], sum(file.stat().st_size for file in files)
