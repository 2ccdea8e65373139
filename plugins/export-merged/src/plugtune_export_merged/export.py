"""Writes the merged model folder: weights streamed, then config, tokenizer and generation config; all or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from plugtune import RequestError
from plugtune.inference.export import ExportContext, ExportReport
from plugtune.modeling.layout import open_layout
from plugtune.modeling.value_head import FILE as HEAD_FILE
from plugtune.templating.exported import store_template

from plugtune_export_merged.adapter import Adapter, is_lora, read_adapter, trained_over_bits
from plugtune_export_merged.forms import AsItIs, Form, merged_form, native_form, original_form
from plugtune_export_merged.names import names_in
from plugtune_export_merged.weights import ShardWriter, base_shards, read_tensors, tensor_names
from plugtune_export_merged.whole import is_renamed, merge_whole

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


MakeForm = Callable[[Any, Any, dict[str, Any]], Form]


def export(context: ExportContext) -> ExportReport:
    """Merge and write a folder that every tool reads, where one can.

    Raises:
        RequestError: the folder is taken, an adapter does not fit, or the base is quantized.
    """
    return _export(context, merged_form)


def export_native(context: ExportContext) -> ExportReport:
    """Like `export`, and refuse where no tool but plugtune would read it."""
    return _export(context, native_form)


def export_original(context: ExportContext) -> ExportReport:
    """Merge and write in the layout of the original checkpoint, for the original code."""
    return _export(context, original_form)


def _export(context: ExportContext, make: MakeForm) -> ExportReport:
    target = context.export_dir
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"export_dir {target} is not empty", where="export_dir", fix="choose a new folder")
    quantized = context.located.config.get("quantization_config")
    if quantized and context.adapters:
        raise RequestError(
            f"the base is quantized ({quantized.get('quant_method')}) and an adapter cannot be merged into it exactly",
            fix="merge into the unquantized base, or serve the adapter as it is",
        )  # fmt: skip
    form = _form(context, make)
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        files, total = _write_weights(context, form, staging)
        note = _write_rest(context, form, staging)
        for path in staging.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if target.exists():
            target.rmdir()
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    notes = (form.note, note, trained_over_bits(context.adapters))
    return ExportReport(target, files, total, tuple(text for text in notes if text))


def _form(context: ExportContext, make: MakeForm) -> Form:
    layout = open_layout(context.located.family)
    config = dict(context.located.config)
    native = layout.config.from_dict(dict(config)) if layout is not None else None
    return make(layout, native, config)


def _write_weights(context: ExportContext, form: Form, folder: Path) -> tuple[list[str], int]:
    source = _plain_base(context, folder)
    family, called = context.located.family, dict[str, str]()
    if not (family and family.layout) and not all(is_lora(path) for path in context.adapters):
        return merge_whole(context, folder)
    adapters = [read_adapter(path) for path in context.adapters]
    if not (family and family.layout):
        held = tensor_names(base_shards(source))
        called = names_in(held, {name for adapter in adapters for name in adapter.names})
        if not called and is_renamed(context.located.model_type, adapters, held):
            return merge_whole(context, folder)
    tied = bool(context.located.config.get("tie_word_embeddings"))
    wanted = DTYPES.get(context.dtype)
    writer = ShardWriter(folder, int(context.shard_bytes))
    seen: set[str] = set()

    def merge(name: str, tensor: torch.Tensor) -> torch.Tensor:
        name = called.get(name, name)
        seen.add(name)
        for adapter in adapters:
            tensor = adapter.apply(name, tensor)
        return tensor

    for original, read in read_tensors(base_shards(source)):
        for name, tensor in form.written(original, read, merge):
            writer.add(name, tensor.to(wanted) if wanted is not None and tensor.is_floating_point() else tensor)
    _check_all_used(adapters, seen, tied)
    files = writer.close()
    shutil.rmtree(folder / ".base", ignore_errors=True)
    return files, writer.total


def _plain_base(context: ExportContext, folder: Path) -> Path:
    """The base as safetensors; a GGUF file is unpacked first."""
    if context.located.gguf_file is None:
        return context.located.folder
    from plugtune.modeling.load import load_model
    from plugtune.modeling.request import ModelRequest

    model = load_model(ModelRequest(context.located, context.model_options, "float32"), context.host)
    unpacked = folder / ".base"
    model.save_pretrained(unpacked)
    for name in ("config.json", "generation_config.json"):
        if (unpacked / name).is_file():
            shutil.copy(unpacked / name, folder / name)
    return unpacked


def _check_all_used(adapters: list[Adapter], seen: set[str], tied: bool) -> None:
    for adapter in adapters:
        unused = sorted(adapter.names - seen)
        if tied and unused == ["lm_head.weight"]:
            raise RequestError(
                "the adapter changes lm_head, which this base shares with its input embeddings",
                why="merging it would change the embeddings too", fix="serve the adapter as it is",
            )  # fmt: skip
        if unused:
            raise RequestError(
                f"the adapter changes weights that the base does not have: {', '.join(unused[:3])}",
                where="adapter_name_or_path", fix="give the base model that it was trained on",
            )  # fmt: skip


def _write_rest(context: ExportContext, form: Form, folder: Path) -> str:
    """Everything but the weights; returns what the user must know about the chat template."""
    note = ""
    if form.original_files:
        _copy_original_files(context.located.folder, folder)
    else:
        if context.template is not None:
            note = store_template(context.template, context.tokenizer)
        context.tokenizer.save_pretrained(folder)
    if not (folder / "config.json").is_file():
        config = dict(form.config)
        if context.dtype in DTYPES:
            config.pop("torch_dtype", None)
            config["dtype" if isinstance(form, AsItIs) else "torch_dtype"] = context.dtype
        config["use_cache"] = True
        (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
    if not (form.original_files and (folder / "generation_config.json").is_file()):
        _write_generation_config(context, folder)
    _copy_value_head(context, folder)
    return note


def _copy_value_head(context: ExportContext, folder: Path) -> None:
    """A reward model stays one: the head of the last adapter that has one, else the base's, goes with the weights."""
    sources = [*reversed(context.adapters), context.located.folder]
    head = next((source / HEAD_FILE for source in sources if (source / HEAD_FILE).is_file()), None)
    if head is not None:
        shutil.copy(head, folder / HEAD_FILE)


def _copy_original_files(source: Path, folder: Path) -> None:
    """Everything of the base but its weights: the original code and its tokenizer find what they know."""
    for path in source.iterdir():
        weights = path.suffix in (".safetensors", ".bin") or path.name.endswith(".index.json")
        if path.is_file() and not weights and path.name != "config.json":
            shutil.copy(path, folder / path.name)


def _write_generation_config(context: ExportContext, folder: Path) -> None:
    path = folder / "generation_config.json"
    source = context.located.folder / "generation_config.json"
    values: dict[str, Any] = {}
    for candidate in (path, source):
        if candidate.is_file():
            values = json.loads(candidate.read_text(encoding="utf-8"))
            break
    tokenizer = context.tokenizer
    stops = set(context.template.stop_token_ids() if context.template is not None else ())
    known = values.get("eos_token_id", tokenizer.eos_token_id)
    stops |= set(known if isinstance(known, list) else [known]) - {None}
    if stops:
        values["eos_token_id"] = sorted(stops) if len(stops) > 1 else next(iter(stops))
    for key in ("bos_token_id", "pad_token_id"):
        if values.get(key) is None and getattr(tokenizer, key) is not None:
            values[key] = getattr(tokenizer, key)
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
