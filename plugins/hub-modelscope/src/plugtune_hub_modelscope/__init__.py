"""The ModelScope hub. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_hubs() -> list[plugtune.Hub]:
    """The hub `modelscope`."""
    return [
        plugtune.Hub(
            name="modelscope",
            summary="modelscope.cn, or the endpoint that MODELSCOPE_ENDPOINT names",
            example="Qwen/Qwen2.5-0.5B-Instruct",
            switch="USE_MODELSCOPE_HUB",
            token="ms_hub_token",
            resolve="plugtune_hub_modelscope.hub:resolve",
        )
    ]
