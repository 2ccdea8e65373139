"""Merges, then writes one GGUF file, tensor by tensor; the file appears whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.inference.export import ExportContext, ExportReport, new_folder

from plugtune_export_gguf.arch import architecture_of
from plugtune_export_gguf.vocabulary import check_tokenizer
from plugtune_export_gguf.write import write_gguf


def export(context: ExportContext) -> ExportReport:
    """Merge into a scratch folder beside the target, convert, and remove the scratch folder.

    Raises:
        RequestError: the folder is taken, or GGUF has no form for this model or tokenizer.
    """
    target = context.export_dir
    if context.located.config:
        architecture_of(context.located.config)
    check_tokenizer(context.tokenizer)
    kind = context.options.gguf_type
    name = target.name or "model"
    scratch = target.with_name(f".{name}.plain")
    with new_folder(target) as staging:
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            merged = context.host.catalog.get("exporter", "merged")
            plain: ExportReport = load_ref(merged.export)(
                replace(context, export_dir=scratch, dtype="auto", options=None)
            )  # fmt: skip
            file = staging / f"{name}-{kind}.gguf"
            write_gguf(plain.folder, file, kind, context.tokenizer, name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return ExportReport(target, [file.name], (target / file.name).stat().st_size)


def reopen(context: ExportContext, report: ExportReport) -> Any:
    """How the written model is opened again."""
    return replace_path(context, report.folder / report.files[0])


def replace_path(context: ExportContext, path: Path) -> Any:
    """The context's model options, naming another model and no adapters."""
    from plugtune.options.groups import ModelOptions

    return ModelOptions(model_name_or_path=str(path), infer_dtype=context.model_options.infer_dtype)
