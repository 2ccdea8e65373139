"""Names of a text model's tensors in a checkpoint that holds more than the text (`model.language_model.layers.0. …`).

Of such checkpoints transformers may load the text part alone, and adapters name its tensors as if it stood alone. The
tensors are the same ones, so they are merged where they are, and what sees and hears stays in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable

EMBEDDING = "embed_tokens.weight"
"""Marks the text model: what sees has layers of the same names, but no tokens."""

HEAD = "lm_head.weight"
"""A base may share it with its embeddings, and hold it nowhere."""


def names_in(held: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Checkpoint name → the name that adapters use, for wanted tensors that have another name in the checkpoint.

    Empty when the checkpoint holds no text model inside another, or not all that is wanted.
    """
    names = set(held)
    missing = set(wanted) - names
    inside = [name.removesuffix(EMBEDDING) for name in names if name.endswith(f".{EMBEDDING}")]
    if not missing or len(inside) != 1:
        return {}
    found = {}
    for name in missing:
        places = [inside[0] + name.removeprefix("model.")] if name.startswith("model.") else []
        places += [other for other in names if other.endswith(f".{name}")]
        place = next((other for other in places if other in names), None)
        if place is None and name != HEAD:
            return {}
        if place is not None:
            found[place] = name
    return found
