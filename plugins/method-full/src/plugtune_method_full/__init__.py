"""Full fine-tuning. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_methods() -> list[plugtune.TuningMethod]:
    """The method `full`."""
    return [
        plugtune.TuningMethod(name="full", summary="Train every weight", prepare="plugtune_method_full.method:prepare")
    ]
