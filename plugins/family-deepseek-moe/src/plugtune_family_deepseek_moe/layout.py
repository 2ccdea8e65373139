"""DeepSeek-MoE checkpoints: LLaMA's attention with the mixture of experts that DeepSeek-V2 has in transformers.

Facts: https://huggingface.co/deepseek-ai/deepseek-moe-16b-base (config.json, modeling_deepseek.py), arXiv:2401.06066.
A softmax over all experts, the best few of them with their weights as they are, and shared experts added ungated; the
first layers are dense. The balance loss of pre-training is not added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from plugtune.errors import RequestError
from plugtune.modeling.layout import Layout, OriginalConfig, Portable
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe

SAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling",
    "attention_bias", "attention_dropout", "moe_intermediate_size", "num_experts_per_tok", "n_shared_experts",
    "first_k_dense_replace", "moe_layer_freq",
)  # fmt: skip


class DeepseekConfig(OriginalConfig, LlamaConfig):
    """LLaMA's keys and those of the experts, under the names that the native block reads."""

    model_type = "deepseek"
    num_experts: int = 64
    num_experts_per_tok: int = 6
    n_shared_experts: int = 2
    moe_intermediate_size: int = 1408
    first_k_dense_replace: int = 1
    moe_layer_freq: int = 1
    topk_method: str = "greedy"
    routed_scaling_factor: float = 1.0
    n_group: int | None = None
    topk_group: int | None = None

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native values."""
        for key, known in {"norm_topk_prob": (None, False), "scoring_func": (None, "softmax")}.items():
            if original.get(key) not in known:
                raise RequestError(f"{key} is {original[key]!r}", where="config.json", why="this is not computed here")
        if not original.get("n_shared_experts"):
            raise RequestError("n_shared_experts is 0", where="config.json", why="this is not computed here")
        values = {key: original[key] for key in SAME if original.get(key) is not None}
        return values | {
            "num_experts": original["n_routed_experts"],
            "tie_word_embeddings": bool(original.get("tie_word_embeddings")),
        }

    def sparse(self, layer: int) -> bool:
        """Whether a layer has experts."""
        return layer >= self.first_k_dense_replace and layer % self.moe_layer_freq == 0


class DeepseekForCausalLM(LlamaForCausalLM):
    """LLaMA whose later layers have experts."""

    config_class = DeepseekConfig
    _keys_to_ignore_on_load_unexpected = [r"inv_freq$"]

    def __init__(self, config: DeepseekConfig) -> None:
        super().__init__(config)
        for index, layer in enumerate(self.model.layers):
            if config.sparse(index):
                layer.mlp = DeepseekV2Moe(cast(Any, config))  # it reads names that both configs have
        self.post_init()


def experts() -> list[Any]:
    """The library's own merging of expert weights into one tensor a layer."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    return list(get_checkpoint_conversion_mapping("qwen2_moe"))


LAYOUT = Layout(
    config=DeepseekConfig,
    model=DeepseekForCausalLM,
    conversions=experts,
    portable=lambda _: Portable(None, note="no class of transformers joins this attention with these experts"),
)


def layout() -> Layout:
    """The layout of the family's original checkpoints."""
    return LAYOUT
