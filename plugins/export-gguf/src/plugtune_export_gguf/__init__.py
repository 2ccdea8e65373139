"""The exporter `gguf`: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class GgufOptions:
    """How weights are written."""

    gguf_type: str = plugtune.option(
        "f16", help="Type of the weight matrices; vectors stay in fp32.", choices=("f32", "f16", "bf16", "q8_0")
    )


@plugtune.hookimpl
def plugtune_exporters() -> list[plugtune.Exporter]:
    """The exporter `gguf`."""
    return [
        plugtune.Exporter(
            name="gguf",
            summary="A GGUF file for llama.cpp and its kin, adapters merged",
            options=GgufOptions,
            writes="NAME-TYPE.gguf with tokenizer and chat template",
            export="plugtune_export_gguf.export:export",
            reopen="plugtune_export_gguf.export:reopen",
        )
    ]
