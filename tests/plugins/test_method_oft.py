"""OFT: the estimate counts what peft trains, and only layers that text goes through are turned."""

from __future__ import annotations

import json

import pytest
from plugtune.capabilities import load_ref
from plugtune.modeling.methods import MethodContext
from plugtune.modeling.shape import shape_of_config
from plugtune.options.groups import ModelOptions

SIZES = [
    {"oft_block_size": 32}, {"oft_block_size": 8}, {"oft_block_size": 7}, {"oft_block_size": 1000},
    {"oft_rank": 4, "oft_block_size": 0}, {"oft_rank": 5, "oft_block_size": 0}, {"oft_target": ["q_proj", "down_proj"]},
]  # fmt: skip


@pytest.fixture
def method(host):
    return host.catalog.get("method", "oft")


@pytest.mark.parametrize("settings", SIZES, ids=[json.dumps(s) for s in SIZES])
@pytest.mark.filterwarnings("ignore:Invalid")
def test_the_estimate_counts_what_peft_trains(host, method, model_dir, settings):
    from transformers import AutoModelForCausalLM

    options = method.options(**settings)
    family = host.catalog.get("family", "llama")
    context = MethodContext(options, ModelOptions(), family)
    model = load_ref(method.prepare)(AutoModelForCausalLM.from_pretrained(model_dir), context)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    shape = shape_of_config(json.loads((model_dir / "config.json").read_text()))
    sized = load_ref(method.sizes)(shape, options)
    assert (sized.parameters, sized.adapters) == (trained, trained)


def test_what_sees_is_not_turned(method):
    """A model that sees has layers of the same names in its vision part; no text goes through them."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision = CLIPVisionConfig(**small, image_size=28, patch_size=14, projection_dim=32)
    text = LlamaConfig(**small, num_key_value_heads=2, vocab_size=99)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=98))
    turned = load_ref(method.prepare)(model, MethodContext(method.options(oft_block_size=8), ModelOptions()))
    trained = [name for name, parameter in turned.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("language_model" in name for name in trained), trained
    assert len(trained) == 7
