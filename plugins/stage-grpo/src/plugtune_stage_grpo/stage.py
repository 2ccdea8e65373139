"""Prompts to tokens, and the GRPO trainer over them."""

from __future__ import annotations

from plugtune.data.encoding import Encoder, EncoderContext
from plugtune.data.prompt_encoder import PromptEncoder
from plugtune.training.context import TrainerContext

from plugtune_stage_grpo.trainer import GrpoTrainer


def make_encoder(context: EncoderContext) -> Encoder:
    """Conversations up to their last answer."""
    return PromptEncoder(context)


def build_trainer(context: TrainerContext) -> GrpoTrainer:
    """Policy, rewards, and a reference where there is a KL penalty."""
    return GrpoTrainer.of(context)
