"""The exporter `ollama`: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class OllamaOptions:
    """How weights are written, and the parameters of the Modelfile."""

    gguf_type: str = plugtune.option(
        "f16", help="Type of the weight matrices.", choices=("f32", "f16", "bf16", "q8_0")
    )  # fmt: skip
    ollama_temperature: float | None = plugtune.option(None, help="PARAMETER temperature.", minimum=0)
    ollama_context: int = plugtune.option(4096, help="PARAMETER num_ctx.", minimum=16)


@plugtune.hookimpl
def plugtune_exporters() -> list[plugtune.Exporter]:
    """The exporter `ollama`."""
    return [
        plugtune.Exporter(
            name="ollama",
            summary="A GGUF file and a Modelfile for `ollama create`, adapters merged",
            options=OllamaOptions,
            writes="NAME-TYPE.gguf and Modelfile",
            export="plugtune_export_ollama.export:export",
            reopen="plugtune_export_ollama.export:reopen",
        )
    ]
