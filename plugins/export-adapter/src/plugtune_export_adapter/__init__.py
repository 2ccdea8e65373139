"""The exporter `adapter`. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_exporters() -> list[plugtune.Exporter]:
    """The exporter `adapter`."""
    return [
        plugtune.Exporter(
            name="adapter",
            summary="The adapter alone, for peft, with tokenizer, chat template and model card",
            writes="adapter_model.safetensors, adapter_config.json, tokenizer, README.md",
            export="plugtune_export_adapter.export:export",
            reopen="plugtune_export_adapter.export:reopen",
        )
    ]
