"""Tests of what a plugin does during runs: filters of records, secrets, and every run-time hook in a short run."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.data.records import RowError, RowLeftOut, Where
from plugtune.hookspecs import COLLECTING_HOOKS
from plugtune.plugins.host import LoadedPlugin
from plugtune.plugins.tracing import SWITCH
from plugtune.testkit.base import KitTests, installed, optional, plugtune
from plugtune.testkit.models import tiny_folder
from plugtune.testkit.run import data_folder

IN_EVERY_RUN = ("configure_run", "model_loaded", "callbacks", "filter_record", "log", "metrics", "run_finished")
"""Hooks that a run of training and prediction calls."""


class HookTests(KitTests):
    """Base of tests of run-time hooks, and tests of all of them in one run.

    Attributes:
        env: environment variables that the plugin reads.
        settings: further flags of the run.
    """

    env: ClassVar[Mapping[str, str]] = {}
    settings: ClassVar[Sequence[str]] = ()

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)

    def _hook(self, loaded: LoadedPlugin, name: str) -> Callable[..., Any]:
        """The plugin's implementation of a hook, called with whatever arguments it names."""
        found = [i for i in getattr(installed().hook, name).get_hookimpls() if i.plugin_name == loaded.name]
        if not found:
            pytest.fail(f"plugin {self.plugin} implements no {name}")
        return lambda **given: found[0].function(*(given[argument] for argument in found[0].argnames))

    @optional
    def test_it_is_called_in_a_run_which_ends_well(
        self, loaded: LoadedPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(SWITCH, "1")
        callers = installed().manager.get_hookcallers(installed().manager.get_plugin(loaded.name)) or []
        mine = {caller.name for caller in callers} - set(COLLECTING_HOOKS)
        if not mine:
            pytest.skip("it implements no run-time hook, so there is nothing to call")
        model, data = tiny_folder(tmp_path / "model"), data_folder(tmp_path / "data", "conversation")
        done = plugtune(
            "train", "--stage", "sft", "--do_train", "--do_predict", "--model_name_or_path", model,
            "--dataset", "rows", "--eval_dataset", "rows", "--dataset_dir", data, "--output_dir", tmp_path / "out",
            "--max_samples", 4, "--finetuning_type", "full", "--max_steps", 2, "--logging_steps", 1,
            "--max_new_tokens", 2, "--predict_with_generate", "--bf16", "false", *self.settings,
        )  # fmt: skip
        said = [line for line in done.stderr.splitlines() if not line.startswith("hook ")]
        assert done.returncode == 0, "the run failed:\n" + "\n".join(said[-8:])
        called = set(re.findall(rf"^hook (\w+): {re.escape(loaded.name)} ", done.stderr, re.MULTILINE))
        silent = {name for name in mine if name.removeprefix("plugtune_") in IN_EVERY_RUN} - called
        assert not silent, f"the run never called {', '.join(sorted(silent))}"


class FilterTests(HookTests):
    """Tests of `plugtune_filter_record`.

    Attributes:
        kept: records that it must leave as they are.
        changed: records that it must change, each with what becomes of it.
        left_out: records that it must leave out, or refuse, each with a part of the reason.
    """

    kept: ClassVar[Sequence[Any]] = ()
    changed: ClassVar[Sequence[tuple[Any, Any]]] = ()
    left_out: ClassVar[Sequence[tuple[Any, str]]] = ()

    @pytest.fixture
    def call(self, loaded: LoadedPlugin) -> Callable[[Any], Any]:
        """The filter: record → what becomes of it."""
        hook = self._hook(loaded, "plugtune_filter_record")

        def filtered(record: Any) -> Any:
            answer = hook(record=record, where=Where("rows.json", 1))
            return record if answer is None else answer

        return filtered

    def test_records_are_kept_changed_and_left_out(self, call: Callable[[Any], Any]) -> None:
        assert self.kept or self.changed or self.left_out, "set `kept`, `changed` or `left_out`"
        for record in self.kept:
            assert call(record) == record, f"it changed {record}"
        for record, expected in self.changed:
            assert call(record) == expected
        for record, reason in self.left_out:
            with pytest.raises((RowLeftOut, RowError)) as caught:
                call(record)
            assert reason in str(caught.value), f"the reason does not hold {reason!r}: {caught.value}"

    def test_it_is_pure_and_the_same_in_threads(self, call: Callable[[Any], Any]) -> None:
        records = [*self.kept, *(record for record, _ in self.changed)]
        before = copy.deepcopy(records)
        with ThreadPoolExecutor(4) as pool:
            answers = set(pool.map(lambda _: repr([call(record) for record in records]), range(8)))
        assert len(answers) == 1, "the same records give other answers"
        assert records == before, "it changed a record in place"

    @optional
    def test_what_it_made_needs_it_no_more(self, call: Callable[[Any], Any]) -> None:
        """A filter that is applied to its own work leaves it alone."""
        for record, _ in self.changed:
            once = call(record)
            assert call(once) == once


class SecretTests(HookTests):
    """Tests of `plugtune_secret`.

    Attributes:
        known: names that the plugin must know, in an environment that the tests set up, with their values.
    """

    known: ClassVar[Mapping[str, str]] = {}

    def test_it_knows_its_names_and_leaves_others_to_others(
        self, loaded: LoadedPlugin, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        ask = self._hook(loaded, "plugtune_secret")
        assert ask(name="a-name-that-nobody-has") is None, "an unknown name is answered by None"
        if not self.known:
            pytest.skip("no names are given: set `known`, and `env` or a fixture that makes the plugin know them")
        with caplog.at_level(logging.DEBUG):
            assert {name: ask(name=name) for name in self.known} == dict(self.known)
        said = "".join(capfd.readouterr()) + caplog.text
        assert not any(value in said for value in self.known.values()), "it prints or logs a secret"
