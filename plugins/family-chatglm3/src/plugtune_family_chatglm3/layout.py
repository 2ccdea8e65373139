"""ChatGLM3 and ChatGLM2 checkpoints on `GlmForCausalLM`, which computes the same.

Facts: https://huggingface.co/zai-org/chatglm3-6b (config.json, modeling_chatglm.py). Half of each head is rotated in
adjacent pairs, as GLM-4 does; queries, keys and values are one matrix; the gate is the first half of `dense_h_to_4h`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from plugtune.errors import RequestError
from plugtune.modeling.layout import Fused, Layout, OriginalConfig, Parts, Portable, query_key_value
from transformers import GlmConfig, GlmForCausalLM

UNSUPPORTED = {
    "pre_seq_len": (None, 0), "quantization_bit": (None, 0), "rmsnorm": (None, True), "add_bias_linear": (None, False),
    "apply_residual_connection_post_layernorm": (None, False), "post_layer_norm": (None, True),
}  # fmt: skip
"""Config keys whose other values change the computation → the values that are computed here."""


class ChatGLMConfig(OriginalConfig, GlmConfig):
    """Reads `num_layers`, `padded_vocab_size` and kin."""

    model_type = "chatglm"
    VOCABULARY: ClassVar[str] = "padded_vocab_size"

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native values."""
        if "ffn_hidden_size" not in original or "num_layers" not in original:
            raise RequestError(
                "this ChatGLM checkpoint is of the first generation (ChatGLM-6B), which is another architecture",
                where="config.json", fix="use ChatGLM2 or ChatGLM3",
            )  # fmt: skip
        for key, known in UNSUPPORTED.items():
            if original.get(key) not in known:
                raise RequestError(f"{key} is {original[key]!r}", where="config.json", why="this is not computed here")
        heads = original["num_attention_heads"]
        grouped = original.get("multi_query_attention")
        return {
            "vocab_size": original["padded_vocab_size"],
            "hidden_size": original["hidden_size"],
            "intermediate_size": original["ffn_hidden_size"],
            "num_hidden_layers": original["num_layers"],
            "num_attention_heads": heads,
            "num_key_value_heads": original["multi_query_group_num"] if grouped else heads,
            "head_dim": original.get("kv_channels") or original["hidden_size"] // heads,
            "max_position_embeddings": original.get("seq_length", 2048),
            "rms_norm_eps": original.get("layernorm_epsilon", 1e-5),
            "attention_bias": bool(original.get("add_qkv_bias")),
            "attention_dropout": original.get("attention_dropout", 0.0),
            "tie_word_embeddings": bool(original.get("tie_word_embeddings")),
            "eos_token_id": original.get("eos_token_id", 2),
            "pad_token_id": original.get("pad_token_id", 0),
            # The 32k variants of ChatGLM3 multiply the base.
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10000.0 * original.get("rope_ratio", 1),
                "partial_rotary_factor": 0.5,
            },
        }  # fmt: skip


class ChatGLMModel(GlmForCausalLM):
    """A whole language model: the original's `ChatGLMModel` is one, too."""

    config_class = ChatGLMConfig
    _keys_to_ignore_on_load_unexpected = [r"inv_freq$"]

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.loss_type = "ForCausalLM"
        self.model.embed_tokens.padding_idx = None  # the original's embedding of id 0 gets a gradient


def portable(config: Any) -> Portable:
    """A GLM checkpoint; nothing else differs."""
    values = GlmConfig(**{k: v for k, v in config.to_dict().items() if k != "model_type"}).to_diff_dict()
    return Portable(values | {"architectures": ["GlmForCausalLM"]})


PARTS = Parts(query_key_value)

LAYOUT = Layout(
    config=ChatGLMConfig,
    model=ChatGLMModel,
    renames=(
        ("^transformer.embedding.word_embeddings.", "^model.embed_tokens."),
        ("^transformer.encoder.layers.", "^model.layers."),
        ("^transformer.encoder.final_layernorm.", "^model.norm."),
        ("^transformer.output_layer.", "^lm_head."),
        (".self_attention.dense.", ".self_attn.o_proj."),
        (".mlp.dense_h_to_4h.", ".mlp.gate_up_proj."),
        (".mlp.dense_4h_to_h.", ".mlp.down_proj."),
    ),
    fused=(
        Fused(
            ".self_attention.query_key_value.",
            (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."),
            PARTS.split,
            PARTS.join,
        ),
    ),
    portable=portable,
)


def layout() -> Layout:
    """The layout of the family's original checkpoints."""
    return LAYOUT
