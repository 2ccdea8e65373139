"""Feedback to tokens, and the trainer over it."""

from __future__ import annotations

from plugtune.data.encoding import Encoder, EncoderContext
from plugtune.data.feedback_encoder import FeedbackEncoder
from plugtune.training.context import TrainerContext

from plugtune_stage_kto.trainer import FeedbackTrainer


def make_encoder(context: EncoderContext) -> Encoder:
    """Prompt, answer and judgement; the template writes the conversation."""
    return FeedbackEncoder(context)


def build_trainer(context: TrainerContext) -> FeedbackTrainer:
    """Kahneman-Tversky optimization."""
    return FeedbackTrainer(context)
