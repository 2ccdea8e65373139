"""Copies a trained adapter and adds what is needed to use it elsewhere."""

from __future__ import annotations

import json
import shutil
from typing import Any

from plugtune import RequestError
from plugtune.inference.export import ExportContext, ExportReport, new_folder
from plugtune.options.groups import ModelOptions

FILES = ("adapter_model.safetensors", "adapter_config.json")


def export(context: ExportContext) -> ExportReport:
    """Copy the adapter, write tokenizer and model card.

    Raises:
        RequestError: there is no adapter, or there are several, or its files are missing.
    """
    if len(context.adapters) != 1:
        raise RequestError(
            f"one adapter is exported at a time, and {len(context.adapters)} are named", where="adapter_name_or_path",
            fix="name one with --adapter_name_or_path; several can be merged with --exporter merged",
        )  # fmt: skip
    source = context.adapters[0]
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise RequestError(f"{source} lacks {', '.join(missing)}", where="adapter_name_or_path")
    config = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    with new_folder(context.export_dir) as staging:
        for name in FILES:
            shutil.copy(source / name, staging / name)
        if context.template is not None:
            context.tokenizer.chat_template = context.template.chat_template()
        context.tokenizer.save_pretrained(staging)
        (staging / "README.md").write_text(_card(config, context), encoding="utf-8")
    size = (context.export_dir / FILES[0]).stat().st_size
    return ExportReport(context.export_dir, [FILES[0]], size)


def _card(config: dict[str, Any], context: ExportContext) -> str:
    base = str(config.get("base_model_name_or_path") or context.located.folder.name)
    # A path of this machine means nothing elsewhere; a hub id does.
    shown = (
        base if base.count("/") == 1 and not base.startswith((".", "/", "~")) else base.rstrip("/").rpartition("/")[2]
    )
    template = context.template.name if context.template is not None else "none"
    return (
        f"---\nbase_model: {json.dumps(shown)}\nlibrary_name: peft\n---\n\n"
        f"An adapter ({config.get('peft_type', 'peft')}, rank {config.get('r', '?')}) for {shown}, "
        "trained with plugtune.\n"
        f"Chat template: {template}; it is stored with the tokenizer.\n\n"
        "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({json.dumps(shown)})\n"
        'model = PeftModel.from_pretrained(base, "this folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("this folder")\n```\n'
    )


def reopen(context: ExportContext, report: ExportReport) -> ModelOptions:
    """The base with the exported adapter."""
    options = context.model_options
    return ModelOptions(
        model_name_or_path=options.model_name_or_path, adapter_name_or_path=[str(report.folder)],
        infer_dtype=options.infer_dtype, quantization_bit=options.quantization_bit,
    )  # fmt: skip
