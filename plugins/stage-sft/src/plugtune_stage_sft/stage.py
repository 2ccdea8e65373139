"""Conversations to tokens with masks, and the shared trainer over them."""

from __future__ import annotations

from plugtune.data.conversation_encoder import ConversationEncoder
from plugtune.data.encoding import Encoder, EncoderContext
from plugtune.training.context import TrainerContext
from plugtune.training.trainer import PlugtuneTrainer

from plugtune_stage_sft.dft import DftTrainer


def make_encoder(context: EncoderContext) -> Encoder:
    """The template decides what is trained on; the data options decide what happens to long rows."""
    return ConversationEncoder(context)


def build_trainer(context: TrainerContext) -> PlugtuneTrainer:
    """Next-token prediction on the answers."""
    return (DftTrainer if context.plan.stage_options.use_dft_loss else PlugtuneTrainer)(context)
