"""Names of templates, and the warning when a template does not belong to a model."""

from __future__ import annotations

import pytest
from plugtune.errors import RequestError
from plugtune.templating.auto import TokenizerTemplate
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.choose import bind, find, mismatch
from plugtune.templating.load import load_template


def test_auto_is_no_template_without_a_tokenizer(host):
    with pytest.raises(RequestError, match="no tokenizer is given") as caught:
        find("auto", host.catalog)
    assert "--tokenizer" in str(caught.value)


def test_a_tool_format_is_checked_and_refused_where_it_has_no_effect(host, tokenizer):
    with pytest.raises(RequestError, match="did you mean 'mistral'"):
        bind("qwen", host.catalog, tokenizer, tool_format="mistrl")
    with pytest.raises(RequestError, match="no effect with template auto"):
        bind("auto", host.catalog, tokenizer, tool_format="qwen")
    assert bind("qwen", host.catalog, tokenizer, tool_format="default").options.tool_style == "react"


def test_the_own_template_fits_by_itself(tokenizer):
    assert mismatch(TokenizerTemplate(tokenizer), "llama") == ""


def test_a_template_that_writes_what_the_own_one_writes_is_not_warned_about(host, tokenizer):
    assert mismatch(BoundTemplate(host.catalog.get("template", "qwen3_nothink"), tokenizer), "qwen3") == ""


def test_a_template_of_another_kind_of_model_is_warned_about(host, tokenizer):
    warning = mismatch(BoundTemplate(host.catalog.get("template", "qwen"), tokenizer), "llama")
    assert "the usual one of qwen2, qwen2_moe models, and this model is llama" in warning


def test_a_template_that_writes_otherwise_than_the_own_one_is_warned_about_with_the_difference(host, tokenizer):
    warning = mismatch(BoundTemplate(host.catalog.get("template", "smollm2"), tokenizer), "llama")
    assert "otherwise than template smollm2" in warning
    assert "named SmolLM" in warning or "system" in warning
    assert "--template auto" in warning


def test_a_template_whose_tokens_the_tokenizer_lacks_is_warned_about(tmp_path, tokenizer):
    file = tmp_path / "x.yaml"
    file.write_text('user: [{token: "<|q|>"}, "{{content}}"]\n', encoding="utf-8")
    warning = mismatch(BoundTemplate(load_template(file), tokenizer), "llama")
    assert "writes <|q|>, which this tokenizer splits" in warning


def test_a_tokenizer_without_a_chat_template_has_nothing_to_compare(host, model_dir):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    tokenizer.chat_template = None
    assert mismatch(BoundTemplate(host.catalog.get("template", "smollm2"), tokenizer), "llama") == ""
