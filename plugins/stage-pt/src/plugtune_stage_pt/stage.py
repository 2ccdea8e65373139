"""Documents to token blocks, and the shared trainer over them."""

from __future__ import annotations

from plugtune.data.document_encoder import DocumentEncoder
from plugtune.data.encoding import Encoder, EncoderContext
from plugtune.training.context import TrainerContext
from plugtune.training.trainer import PlugtuneTrainer


def make_encoder(context: EncoderContext) -> Encoder:
    """Text and end-of-sequence, joined into blocks when packing is on (the default of this stage)."""
    return DocumentEncoder(context)


def build_trainer(context: TrainerContext) -> PlugtuneTrainer:
    """Next-token prediction on every token."""
    return PlugtuneTrainer(context)
