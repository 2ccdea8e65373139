"""A model that is asked with one layer of each kind gives the answer of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plugtune.modeling.alike import shortened, signature
from plugtune.training import attention
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, SmolLM3Config

SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def _model(config: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def _layers_run(model: Any) -> list[int]:
    """The layers that a forward pass really goes through."""
    seen: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda *_, index=index: seen.append(index))
        for index, layer in enumerate(model.model.layers)
    ]
    model(input_ids=torch.tensor([[3, 4, 5]]))
    for hook in hooks:
        hook.remove()
    return seen


def test_layers_of_one_kind_are_asked_once() -> None:
    model = _model(LlamaConfig(num_hidden_layers=6, **SIZES))
    with shortened(model) as shorter:
        assert shorter
        assert _layers_run(model) == [0]
    assert _layers_run(model) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        # A window in every second layer; a layer without rotation at every fourth place.
        (
            Gemma3TextConfig(
                num_hidden_layers=6, sliding_window=4, layer_types=["sliding_attention", "full_attention"] * 3, **SIZES
            ),
            2,
        ),
        (SmolLM3Config(num_hidden_layers=8, no_rope_layer_interval=4, **SIZES), 4),
    ],
)
def test_each_kind_of_layer_is_among_those_that_are_asked(config: Any, needed: int) -> None:
    model = _model(config)
    with shortened(model) as shorter:
        assert shorter
        assert _layers_run(model) == list(range(needed))


def test_a_layer_that_was_changed_by_hand_is_another_kind() -> None:
    model = _model(LlamaConfig(num_hidden_layers=5, **SIZES))
    plain = signature(model.model.layers[0])
    assert signature(model.model.layers[3]) == plain
    model.model.layers[3].self_attn.scaling = 0.5
    assert signature(model.model.layers[3]) != plain
    with shortened(model) as shorter:
        assert shorter
        assert _layers_run(model) == [0, 1, 2, 3]


def test_a_model_whose_last_layer_mixes_rows_is_found_out() -> None:
    """The layer that makes the difference stands at the end; the others are of one kind."""
    model = _model(LlamaConfig(num_hidden_layers=4, **SIZES))
    last = model.model.layers[3]
    own = last.mlp.forward
    last.mlp.forward = lambda x: own(x) + x.mean(dim=1, keepdim=True)
    assert not attention.enable(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_cannot_be_shortened_is_asked_whole() -> None:
    """Some models need their number of layers elsewhere; a failure of the short form is not their answer."""
    model = _model(LlamaConfig(num_hidden_layers=3, **SIZES))
    own = model.model.forward

    def needs_all(*args: Any, **kwargs: Any) -> Any:
        if model.config.num_hidden_layers != 3:
            raise RuntimeError("shape mismatch")
        return own(*args, **kwargs)

    model.model.forward = needs_all
    assert attention.enable(model)
