"""Families claim each checkpoint once, name it rightly, and every template they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from plugtune.capabilities import ModelEntry, ModelFamily
from plugtune.errors import RequestError
from plugtune.hubs import chosen_hub
from plugtune.modeling.entries import double_claims, find_entry, read_models
from plugtune.modeling.locate import family_of, locate
from plugtune.options.groups import ModelOptions

ROOT = Path(__file__).parents[2]
SEED = (
    "BLOOM-560M BLOOM-176B BLOOMZ-7B1 DeepSeek-LLM-7B-Chat DeepSeek-LLM-67B-Base Falcon-7B Falcon-40B Falcon-180B-Chat "
    "Gemma-2B Gemma-7B-Instruct LLaMA-7B LLaMA-13B LLaMA-65B LLaMA2-7B-Chat LLaMA2-13B LLaMA2-70B "
    "Mistral-7B-v0.1 Mixtral-8x7B-v0.1 Phi-1.5-1.3B Phi-2-2.7B Qwen1.5-0.5B Qwen1.5-72B-Chat Yi-6B Yi-34B-Chat"
).split()


@pytest.fixture(scope="module")
def families(host) -> list[ModelFamily]:
    return host.catalog.all("family")


def test_no_two_families_claim_the_same(families):
    assert double_claims(families) == []


def test_double_claims_are_found_and_refused(host, families):
    other = ModelFamily(name="other", model_types=("llama",), models=(ModelEntry("Llama-2-7B", "7B", {}),))
    assert double_claims([*families, other]) == [
        "model type 'llama' is claimed by the families llama and other",
        "model 'Llama-2-7B' is claimed by the families llama and other",
    ]

    class Two:
        def all(self, kind: str) -> list[ModelFamily]:
            return [*families, other]

    with pytest.raises(RequestError, match="claimed by the families llama and other"):
        family_of({"model_type": "llama"}, Two())  # type: ignore[arg-type]


def test_a_type_that_the_class_of_another_reads_stays_with_its_own_family(host):
    saved = {"model_type": "exaone", "architectures": ["LlamaForCausalLM"]}  # as transformers writes it
    assert family_of(saved, host.catalog).name == "exaone"
    assert family_of({"architectures": ["LlamaForCausalLM"]}, host.catalog).name == "llama"


def test_a_family_without_claims_says_whose_models_it_has_or_what_they_need(families):
    claimed = {kind for family in families for kind in family.model_types}
    for family in families:
        if not family.model_types:
            assert family.like or all(entry.needs for entry in family.models), family.name
            assert set(family.like) <= claimed, family.name


def test_what_families_claim_is_known_to_transformers_and_leads_back_to_them(host, families):
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as known

    elsewhere = {"RefinedWeb", "RefinedWebModel", "stablelm_epoch", "youtu_llm"}  # names of older checkpoints
    for family in families:
        for kind in family.model_types:
            assert family_of({"model_type": kind}, host.catalog) is family
            if not family.layout:
                assert kind in known or kind in elsewhere, f"{family.name} claims {kind}"


def test_every_checkpoint_has_a_size_ids_and_a_template_that_is_there(host, families):
    templates = {*host.catalog.names("template"), "", "auto"}
    for family in families:
        assert family.lora_targets, family.name
        assert family.models, family.name
        for entry in family.models:
            where = f"{family.name}: {entry.name}"
            assert re.fullmatch(r"|(\d+x)?\d+(\.\d+)?[BMT](-A\d+(\.\d+)?[BM])?", entry.size), where
            assert entry.hub, where
            assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", repository) for repository in entry.hub.values()), where
            assert {entry.template, family.template} <= templates, where
            assert entry.chat or not entry.template, where


def test_every_model_of_the_tutorials_table_has_a_name(families):
    missing = [name for name in SEED if find_entry(name, families) is None]
    assert missing == []


def test_the_names_count_past_llamafactorys_text_models(families):
    assert sum(len(family.models) for family in families) > 635


def test_a_name_is_found_however_it_is_spelt_but_never_guessed(families):
    assert find_entry("LLaMA2-7B-Chat", families).name == "Llama-2-7B-Chat"
    assert find_entry("qwen2.5-0.5b-instruct", families).name == "Qwen2.5-0.5B-Instruct"
    assert find_entry("Qwen2.5", families) is None


def test_a_name_without_an_id_on_the_chosen_hub_is_told_before_anything_is_fetched(host):
    with pytest.raises(RequestError, match="no id of model 'Pythia-70M' on modelscope"):
        locate(ModelOptions(model_name_or_path="Pythia-70M", hub="modelscope"), host.catalog)


def test_a_model_that_needs_its_own_code_says_so_before_anything_is_fetched(host):
    with pytest.raises(RequestError, match="needs code of its own repository"):
        locate(ModelOptions(model_name_or_path="Orion-14B-Chat"), host.catalog)


def test_the_option_chooses_the_hub_and_an_unknown_one_is_named(host, monkeypatch):
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert chosen_hub(host.catalog).name == "modelscope"
    assert chosen_hub(host.catalog, "huggingface").name == "huggingface"
    with pytest.raises(Exception, match="unknown hub 'modlscope'"):
        chosen_hub(host.catalog, "modlscope")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tsize\n", "must name the columns"),
        ("HEAD\nx\ty\n", "line 2"),
        ("HEAD\nf\tn\t1B\tbaes\t-\ta/b\t-\t-\n", "line 2"),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path, text, message):
    head = "family\tname\tsize\tkind\ttemplate\thuggingface\tmodelscope\tneeds"
    file = tmp_path / "models.tsv"
    file.write_text(text.replace("HEAD", head), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_models(file)


def test_listing_shows_name_size_ids_family_and_template(plugtune):
    import json

    rows = json.loads(plugtune("list", "models", "--json").stdout)
    row = next(r for r in rows if r["name"] == "Qwen2.5-0.5B-Instruct")
    assert row["hub"] == {"huggingface": "Qwen/Qwen2.5-0.5B-Instruct", "modelscope": "Qwen/Qwen2.5-0.5B-Instruct"}
    assert (row["size"], row["family"], row["template"]) == ("0.5B", "qwen", "qwen")
    text = plugtune("list", "models").stdout
    assert re.search(r"Qwen2\.5-0\.5B-Instruct\s+0\.5B\s+qwen\s+qwen\s+Qwen/Qwen2\.5-0\.5B-Instruct", text)
