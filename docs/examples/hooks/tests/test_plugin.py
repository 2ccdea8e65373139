"""The conformance kit of plugtune, run on these plugins."""

import pytest
from plugtune import Conversation, Message
from plugtune.testkit import FilterTests, HookTests, PluginTests, SecretTests


def chat(answer):
    return Conversation((Message("user", "Where?"), Message("assistant", answer)))


class TestLogPlugin(PluginTests):
    plugin = "example-log"


class TestStop(HookTests):
    plugin = "example-stop"
    env = {"EXAMPLE_STOP_AT": "0.000001"}


class TestLog(HookTests):
    plugin = "example-log"

    @pytest.fixture(autouse=True)
    def file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("EXAMPLE_LOG", str(tmp_path / "log"))
        yield
        assert (tmp_path / "log").read_text(encoding="utf-8").count('"stage": "sft"') >= 2


class TestFilter(FilterTests):
    plugin = "example-filter"
    env = {"EXAMPLE_NO_LINKS": "1"}
    kept = [chat("Here.")]
    left_out = [(chat("See https://example.org"), "it holds a link")]
    skips = {"test_it_is_called_in_a_run_which_ends_well": "TestLog shows a run, and this file should stay quick"}


class TestSecrets(SecretTests):
    plugin = "example-secrets"
    known = {"calls": "hush-hush"}
    skips = {"test_it_is_called_in_a_run_which_ends_well": "no run of the kit asks for a secret"}

    @pytest.fixture(autouse=True)
    def file(self, tmp_path, monkeypatch):
        path = tmp_path / "secrets"
        path.write_text("other=x\ncalls=hush-hush\n", encoding="utf-8")
        path.chmod(0o600)
        monkeypatch.setenv("EXAMPLE_SECRETS", str(path))
