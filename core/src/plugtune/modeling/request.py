"""What is asked of a model loader."""

from __future__ import annotations

from dataclasses import dataclass

from plugtune.modeling.locate import Located
from plugtune.options.groups import ModelOptions


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model to load.

    Attributes:
        located: where it is.
        options: the model options.
        dtype: name of the weights' dtype.
        vocabulary: size of the tokenizer's vocabulary; the embeddings grow to it when they are smaller and tokens were
            added.
        training: whether it will be trained.
    """

    located: Located
    options: ModelOptions
    dtype: str
    vocabulary: int = 0
    training: bool = False
