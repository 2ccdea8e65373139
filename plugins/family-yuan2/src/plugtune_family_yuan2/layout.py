"""Yuan2 checkpoints: LLaMA's blocks with attention behind a localized filter.

Facts: https://huggingface.co/IEITYuan/Yuan2-2B-hf (config.json, yuan_hf_model.py), arXiv:2311.15786. All tensor names
are the original ones.
"""

from __future__ import annotations

from plugtune.modeling.layout import Layout, Portable

from plugtune_family_yuan2.config import YuanConfig
from plugtune_family_yuan2.model import YuanForCausalLM

NOTE = "no class of transformers has this model's localized filtering"

LAYOUT = Layout(config=YuanConfig, model=YuanForCausalLM, portable=lambda _: Portable(None, note=NOTE))


def layout() -> Layout:
    """The layout of the family's original checkpoints."""
    return LAYOUT
