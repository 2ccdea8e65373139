"""Orthogonal fine-tuning: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class OftOptions:
    """The rotations' shape, with LLaMA-Factory's names and defaults."""

    oft_rank: int = plugtune.option(0, help="Blocks of rotations in a layer; 0 to follow oft_block_size.", minimum=0)
    oft_block_size: int = plugtune.option(32, help="Size of a rotation; 0 to follow oft_rank.", minimum=0)
    oft_target: list[str] = plugtune.option(["all"], help="Modules that are turned; a comma list, or all linear ones.")
    module_dropout: float = plugtune.option(0.0, help="Share of blocks left out in a pass.", minimum=0, maximum=1)
    additional_target: list[str] = plugtune.option([], help="Modules trained whole and saved with the adapter.")
    create_new_adapter: bool = plugtune.option(False, help="Merge the given adapters and start a new one.")


@plugtune.hookimpl
def plugtune_methods() -> list[plugtune.TuningMethod]:
    """The method `oft`."""
    return [
        plugtune.TuningMethod(
            name="oft",
            summary="Turn the inputs of linear layers by trained rotations",
            options=OftOptions,
            prepare="plugtune_method_oft.method:prepare",
            checks="plugtune_method_oft.checks:checks",
            saves_adapter=True,
            sizes="plugtune_method_oft.sizes:sizes",
        )
    ]
