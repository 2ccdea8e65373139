"""Merges in full precision, then quantizes the merged weights and saves them: a 4-bit merge loses the adapter."""

from __future__ import annotations

import shutil
from dataclasses import replace

from plugtune import RequestError
from plugtune.capabilities import load_ref
from plugtune.inference.export import ExportContext, ExportReport, new_folder
from plugtune.modeling.load import load_model
from plugtune.modeling.locate import locate
from plugtune.modeling.request import ModelRequest


def export(context: ExportContext) -> ExportReport:
    """Write a quantized checkpoint.

    Raises:
        RequestError: the folder is taken, the base is quantized already, or bitsandbytes cannot quantize it.
    """
    if context.located.config.get("quantization_config"):
        raise RequestError("the base is quantized already", where="model_name_or_path",
                           fix="give the unquantized base")  # fmt: skip
    target = context.export_dir
    scratch = target.with_name(f".{target.name}.plain")
    bits = context.options.export_quantization_bit
    with new_folder(target) as staging:
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            merged = context.host.catalog.get("exporter", "merged")
            load_ref(merged.export)(replace(context, export_dir=scratch, dtype="auto", options=None))
            options = replace(
                context.model_options, model_name_or_path=str(scratch), adapter_name_or_path=[], quantization_bit=bits
            )
            dtype = "float32" if context.dtype == "auto" else context.dtype
            model = load_model(ModelRequest(locate(options, context.host.catalog), options, dtype), context.host)
            model.config.use_cache = True
            model.save_pretrained(staging, max_shard_size=int(context.shard_bytes))
            for path in scratch.iterdir():
                if path.suffix != ".safetensors" and not (staging / path.name).exists():
                    shutil.copy(path, staging / path.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    files = sorted(path.name for path in target.glob("*.safetensors"))
    given = context.options.export_quantization_dataset
    notes = ("export_quantization_dataset has no effect: bitsandbytes needs no calibration",) if given else ()
    return ExportReport(target, files, sum((target / name).stat().st_size for name in files), notes)
