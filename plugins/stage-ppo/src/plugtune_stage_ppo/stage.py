"""Prompts to tokens, and the PPO trainer over them."""

from __future__ import annotations

from plugtune.data.encoding import Encoder, EncoderContext
from plugtune.data.prompt_encoder import PromptEncoder
from plugtune.training.context import TrainerContext

from plugtune_stage_ppo.trainer import PpoTrainer


def make_encoder(context: EncoderContext) -> Encoder:
    """Conversations up to their last answer."""
    return PromptEncoder(context)


def build_trainer(context: TrainerContext) -> PpoTrainer:
    """Policy with value head, reference and reward."""
    return PpoTrainer.of(context)
