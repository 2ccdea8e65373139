"""The exporter `quantized`: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class QuantizedOptions:
    """How the weights are quantized, with LLaMA-Factory's names."""

    export_quantization_bit: int = plugtune.option(4, help="Bits of a weight.", choices=(4, 8))
    export_quantization_dataset: str | None = plugtune.option(
        None, help="Rows to calibrate with; bitsandbytes needs none, so it has no effect."
    )
    export_quantization_nsamples: int = plugtune.option(128, help="Calibration rows; no effect with bitsandbytes.")
    export_quantization_maxlen: int = plugtune.option(1024, help="Length of those rows; no effect with bitsandbytes.")


@plugtune.hookimpl
def plugtune_exporters() -> list[plugtune.Exporter]:
    """The exporter `quantized`."""
    return [
        plugtune.Exporter(
            name="quantized",
            summary="A model folder with 4- or 8-bit weights (bitsandbytes), adapters merged before",
            options=QuantizedOptions,
            writes="model.safetensors with quantized weights, config.json, tokenizer with chat template",
            export="plugtune_export_quantized.export:export",
        )
    ]
