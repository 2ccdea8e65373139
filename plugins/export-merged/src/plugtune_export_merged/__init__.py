"""The exporter `merged`: what it is and where its code is. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_exporters() -> list[plugtune.Exporter]:
    """The exporter `merged`."""
    return [
        plugtune.Exporter(
            name="merged",
            summary="A plain model folder, adapters merged shard by shard",
            writes="model-*.safetensors, config.json, tokenizer with chat template, generation_config.json",
            export="plugtune_export_merged.export:export",
        )
    ]
