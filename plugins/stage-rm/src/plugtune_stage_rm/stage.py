"""Pairs to tokens, and the trainer of the value head over them."""

from __future__ import annotations

from typing import Any

from plugtune.data.encoding import Encoder, EncoderContext
from plugtune.data.preference_encoder import PreferenceEncoder
from plugtune.training.context import TrainerContext
from plugtune.training.headed import with_head

from plugtune_stage_rm.trainer import RewardTrainer


def make_encoder(context: EncoderContext) -> Encoder:
    """Prompt, chosen and rejected answer, as supervised fine-tuning writes them."""
    return PreferenceEncoder(context)


def build_trainer(context: TrainerContext) -> RewardTrainer:
    """The value head learns to score, and the weights of the tuning method with it."""
    _rest_unused_head(context.model)
    return RewardTrainer(with_head(context))


def _rest_unused_head(model: Any) -> None:
    """A language-model head of its own is never computed here, so it is not trained; a tied one is the embeddings."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and getattr(head, "weight", None) is not getattr(embeddings, "weight", None):
        head.requires_grad_(False)
