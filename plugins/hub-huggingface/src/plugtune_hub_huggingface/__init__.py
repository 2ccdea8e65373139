"""The Hugging Face hub. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_hubs() -> list[plugtune.Hub]:
    """The hub `huggingface`."""
    return [
        plugtune.Hub(
            name="huggingface",
            summary="huggingface.co, or the mirror that HF_ENDPOINT names",
            example="HuggingFaceTB/SmolLM2-135M-Instruct",
            token="hf_hub_token",
            resolve="plugtune_hub_huggingface.hub:resolve",
            upload="plugtune_hub_huggingface.hub:upload",
        )
    ]
