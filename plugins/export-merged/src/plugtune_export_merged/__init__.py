"""The exporters `merged`, `native` and `original-layout`, and where their code is. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_exporters() -> list[plugtune.Exporter]:
    """Three ways to write a model folder, adapters merged tensor by tensor."""
    return [
        plugtune.Exporter(
            name="merged",
            summary="A plain model folder, adapters merged shard by shard",
            writes="model-*.safetensors, config.json, tokenizer with chat template, generation_config.json",
            export="plugtune_export_merged.export:export",
        ),
        plugtune.Exporter(
            name="native",
            summary="Like merged, and refuses where transformers alone could not load it",
            writes="model-*.safetensors, config.json, tokenizer with chat template, generation_config.json",
            export="plugtune_export_merged.export:export_native",
        ),
        plugtune.Exporter(
            name="original-layout",
            summary="Merged into the original checkpoint's own layout, for the original code",
            writes="model-*.safetensors with the original names, config.json, the original code and tokenizer files",
            export="plugtune_export_merged.export:export_original",
        ),
    ]
