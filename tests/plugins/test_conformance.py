"""Every official plugin is held against the conformance kit: as a whole, its templates, its families' lists."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from plugtune import Conversation, Document, Message
from plugtune.testkit import (
    ExporterTests,
    FamilyTests,
    FormatTests,
    HubTests,
    MethodTests,
    OptimizerTests,
    PluginTests,
    StageTests,
    TemplateTests,
)

PLUGINS = (
    "contrib_templates",
    *sorted(p.name.replace("-", "_") for p in (Path(__file__).parents[2] / "plugins").glob("*-*")),
)

# Of each kind of architecture one is tested with every run (the lists of all are in test_families.py); `make test-long`
# holds all families against the kit.
OFTEN = ("baichuan2", "bloom", "exaone", "gemma3", "gpt2", "granite4", "kimi-linear", "llama4", "qwen3.5", "vicuna")


def _made(base: type, **values: Any) -> type:
    return type(f"Test_{base.__name__}_{'_'.join(values.values())}".replace("-", "_"), (base,), values)


def _capabilities(plugin: str, hook: str) -> list[Any]:
    collect = getattr(importlib.import_module(f"plugtune_{plugin}"), hook, None)
    return collect() if collect else []


# The parts that take seconds for all plugins together; what trains or loads models follows below.
for _plugin in PLUGINS:
    _name = _plugin.replace("_", "-")
    for _class in (
        _made(PluginTests, plugin=_name),
        *(_made(TemplateTests, plugin=_name, name=t.name) for t in _capabilities(_plugin, "plugtune_templates")),
        *(_made(HubTests, plugin=_name, name=h.name) for h in _capabilities(_plugin, "plugtune_hubs")),
    ):
        globals()[_class.__name__] = _class
    for _family in _capabilities(_plugin, "plugtune_families"):
        _class = _made(FamilyTests, plugin=_name, name=_family.name)
        globals()[_class.__name__] = (pytest.mark.e2e if _family.name in OFTEN else pytest.mark.long)(_class)

Test_TemplateTests_contrib_templates_empty.skips = {  # type: ignore[name-defined]  # noqa: F821
    "test_something_ends_an_answer": "the empty template writes nothing but the texts of the messages"
}

_CHAT = Conversation((Message("user", "What is 2 + 2?"), Message("assistant", "4")))


class TestAlpaca(FormatTests):
    plugin, name = "format-standard", "alpaca"
    good = [({"instruction": "What is 2 + 2?", "input": "", "output": "4"}, _CHAT)]
    bad = [({"instruction": "What?", "output": ""}, "output"), ({"input": "x", "output": "4"}, "instruction")]


class TestSharegpt(FormatTests):
    plugin, name = "format-standard", "sharegpt"
    good = [({"conversations": [{"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": "4"}]}, _CHAT)]
    bad = [({"conversations": [{"from": "nobody", "value": "x"}]}, "conversations[1]"), ({"other": 1}, "conversations")]


class TestOpenai(FormatTests):
    plugin, name = "format-standard", "openai"
    good = [
        ({"messages": [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]}, _CHAT)
    ]
    bad = [({"messages": [{"role": "user", "content": "x"}]}, "messages"), ({"messages": []}, "messages")]


class TestText(FormatTests):
    plugin, name = "format-standard", "text"
    good = [({"text": "Once upon a time."}, Document("Once upon a time."))]
    bad = [({"text": " "}, "text")]


@pytest.mark.e2e
class TestSft(StageTests):
    plugin, name = "stage-sft", "sft"


@pytest.mark.e2e
class TestPt(StageTests):
    plugin, name = "stage-pt", "pt"
    skips = {
        "test_two_small_batches_are_one_large_one": "documents are joined and cut into blocks, so batches hold other rows"
    }


@pytest.mark.e2e
class TestDpo(StageTests):
    plugin, name = "stage-dpo", "dpo"


@pytest.mark.e2e
class TestKto(StageTests):
    plugin, name = "stage-kto", "kto"


@pytest.mark.e2e
class TestRm(StageTests):
    plugin, name = "stage-rm", "rm"


@pytest.mark.e2e
class TestLora(MethodTests):
    plugin, name = "method-lora", "lora"


@pytest.mark.e2e
class TestFull(MethodTests):
    plugin, name = "method-full", "full"


@pytest.mark.e2e
class TestFreeze(MethodTests):
    plugin, name = "method-freeze", "freeze"
    options = {"freeze_trainable_layers": 1}


@pytest.mark.e2e
class TestMerged(ExporterTests):
    plugin, name = "export-merged", "merged"


@pytest.mark.e2e
class TestMuon(OptimizerTests):
    plugin, name = "optim-extra", "muon"


@pytest.mark.e2e
class TestOft(MethodTests):
    plugin, name = "method-oft", "oft"
    options = {"oft_block_size": 8, "learning_rate": "1e-2"}


@pytest.mark.long
class TestExpanded(ExporterTests):
    plugin, name = "method-freeze", "expanded"
    options = {"expand_blocks": 1}


@pytest.mark.long
class TestBadam(OptimizerTests):
    plugin, name = "optim-extra", "badam"
    options = {"badam_switch_interval": 3}


@pytest.mark.long
class TestAdamMini(OptimizerTests):
    plugin, name = "optim-extra", "adam-mini"
