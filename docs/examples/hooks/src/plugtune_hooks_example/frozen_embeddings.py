"""The loaded model: keep the input embeddings as they are in full fine-tuning (`EXAMPLE_FREEZE=1`)."""

from __future__ import annotations

import os
from typing import Any

import plugtune


@plugtune.hookimpl
def plugtune_model_loaded(model: Any, plan: Any) -> None:
    """Called when the method has prepared the model."""
    if os.environ.get("EXAMPLE_FREEZE"):
        model.get_input_embeddings().requires_grad_(False)
        plan.choose("input embeddings", "frozen", "plugin example-freeze")
