"""Pairs to tokens, and the trainer of the value head over them."""

from __future__ import annotations

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
    return RewardTrainer(with_head(context))
