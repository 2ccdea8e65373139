"""Public data sets have names that lead to a hub; what a user registers under the same name wins."""

from __future__ import annotations

import json

import plugtune_datasets_public
import pytest
from plugtune.data.registry import Registry
from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy

TUTORIAL = (
    "alpaca_en alpaca_zh alpaca_gpt4_en alpaca_gpt4_zh belle_2m belle_1m firefly openorca lima wikipedia_zh skypile"
)


def test_there_are_more_than_sixty_and_every_one_is_read_by_an_installed_format(host, tmp_path):
    registry = Registry.open(host.catalog, str(tmp_path))
    names = host.catalog.names("dataset")
    assert len(names) > 60
    assert set(TUTORIAL.split()) <= set(names)
    for name in names:
        assert registry.resolve(name).hub_id.count("/") <= 1


@pytest.mark.parametrize(
    ("hub", "expected"), [(None, "huggingface"), ("huggingface", "huggingface"), ("modelscope", "modelscope")]
)
def test_a_name_resolves_to_the_chosen_hub(host, tmp_path, monkeypatch, hub, expected):
    monkeypatch.delenv("USE_MODELSCOPE_HUB", raising=False)
    spec = Registry.open(host.catalog, str(tmp_path), hub=hub).resolve("alpaca_gpt4_zh")
    assert (spec.hub, spec.hub_id) == (expected, "llamafactory/alpaca_gpt4_zh")


def test_a_set_that_only_one_hub_has_comes_from_there(host, tmp_path):
    assert Registry.open(host.catalog, str(tmp_path)).resolve("deepctrl").hub == "modelscope"
    assert Registry.open(host.catalog, str(tmp_path), hub="modelscope").resolve("lima").hub == "huggingface"


def test_rows_for_pre_training_are_documents(host, tmp_path):
    spec = Registry.open(host.catalog, str(tmp_path)).resolve("fineweb")
    assert spec.format.makes == ("document",)
    assert spec.columns["prompt"] == "text"


def test_a_users_own_entry_of_the_same_name_wins(host, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "a", "output": "b"}]), encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"alpaca_gpt4_zh": {"file_name": "rows.json"}}))
    spec = Registry.open(host.catalog, str(tmp_path)).resolve("alpaca_gpt4_zh")
    assert spec.path == tmp_path / "rows.json"


def test_the_plugin_stands_alone():
    plugins = PluginHost(plugins=[("datasets-public", plugtune_datasets_public)], policy=Policy()).load().plugins
    assert [p.status for p in plugins] == ["ok"]
