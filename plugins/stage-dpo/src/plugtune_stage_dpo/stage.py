"""Preferences to tokens, and the trainers of the stages of this plugin."""

from __future__ import annotations

from plugtune.data.encoding import Encoder, EncoderContext
from plugtune.data.preference_encoder import PreferenceEncoder
from plugtune.training.context import TrainerContext

from plugtune_stage_dpo.trainer import PairTrainer


def make_encoder(context: EncoderContext) -> Encoder:
    """Prompt, chosen and rejected answer as the template writes them."""
    return PreferenceEncoder(context)


def build_dpo(context: TrainerContext) -> PairTrainer:
    """The loss that `pref_loss` names."""
    return PairTrainer(context, context.plan.stage_options.pref_loss)


def build_orpo(context: TrainerContext) -> PairTrainer:
    """Odds-ratio preference optimization."""
    return PairTrainer(context, "orpo")


def build_simpo(context: TrainerContext) -> PairTrainer:
    """Simple preference optimization."""
    return PairTrainer(context, "simpo")
