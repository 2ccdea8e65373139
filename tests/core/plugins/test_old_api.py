"""A plugin that was written for API 1.0 loads, lists, converts and trains as it did."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from plugtune import Conversation, Message, RowError
from plugtune.options.reader import read_request
from plugtune.plugins.compat import api_problem
from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy


@pytest.fixture
def with_old(host: PluginHost, monkeypatch: pytest.MonkeyPatch) -> PluginHost:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "api_v1_0"))
    sys.modules.pop("plugin_v1_0", None)
    modules = [(p.name, host.manager.get_plugin(p.name)) for p in host.plugins]
    return PluginHost([*modules, ("old", importlib.import_module("plugin_v1_0"))], Policy()).load()


def test_its_version_fits_and_later_ones_do_not():
    assert api_problem("v1_0") == ""
    assert "pip install --upgrade plugtune" in api_problem("v1_99")
    assert "upgrade the plugin" in api_problem("v0_9")


def test_its_format_reads_rows(with_old):
    convert = __import__("plugin_v1_0").make_converter({"prompt": "q", "response": "a"}, {}, kind="conversation")
    assert convert({"q": "?", "a": "!"}) == Conversation((Message("user", "?"), Message("assistant", "!")))
    with pytest.raises(RowError):
        convert({"q": "?", "a": ""})


@pytest.mark.e2e
def test_its_stage_trains_and_its_hooks_are_called(with_old, model_dir, tmp_path):
    from plugtune.training.run import run_training

    (tmp_path / "rows.json").write_text(json.dumps([{"question": f"Q{n}", "answer": f"A{n}"} for n in range(8)]))
    (tmp_path / "dataset_info.json").write_text(
        json.dumps({"rows": {"file_name": "rows.json", "formatting": "old-format"}})
    )
    request = read_request(
        ["--stage", "old-stage", "--do_train", "--model_name_or_path", str(model_dir), "--dataset", "rows", "--dataset_dir",
         str(tmp_path), "--output_dir", str(tmp_path / "out"), "--max_steps", "2", "--old_share", "0.25", "--bf16", "false",
         "--logging_steps", "1"]
    )  # fmt: skip
    report = run_training(request, with_old)
    assert report["options"]["stage"]["old_share"] == 0.25
    assert any(choice["what"] == "old plugin" for choice in report["choices"])
    assert (tmp_path / "out" / "old-plugin.txt").read_text() == "old-stage"
