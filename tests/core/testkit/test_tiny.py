"""The tiny maker: what it writes loads like a download, with plugtune and without it."""

from __future__ import annotations

import pytest
from plugtune.errors import RequestError
from plugtune.testkit import tiny


@pytest.mark.parametrize(("family", "model_type"), [("llama", "llama"), ("qwen", "qwen2"), ("qwen", "qwen3")])
def test_a_native_family_s_checkpoint_loads_in_plain_transformers(family, model_type, tmp_path, host):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny.make(family, tmp_path / "model", model_type=model_type, host=host)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == model_type
    assert model.num_parameters() < 200_000
    text = "你好 <|im_end|> \n  x"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert max(tokenizer(text)["input_ids"]) < model.config.vocab_size


def test_special_tokens_of_the_family_s_templates_are_single_tokens(tmp_path, host):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.make("qwen", tmp_path / "model", host=host))
    assert len(tokenizer("<|im_start|><|im_end|>")["input_ids"]) == 2


def test_the_same_seed_gives_the_same_weights(tmp_path, host):
    files = [tiny.make("llama", tmp_path / name, seed=7, host=host) / "model.safetensors" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_model_type_that_the_family_does_not_claim_is_refused(tmp_path, host):
    with pytest.raises(RequestError, match="claims no model type"):
        tiny.make("llama", tmp_path, model_type="qwen2", host=host)
