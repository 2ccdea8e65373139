"""Tests of a plugin as a whole: metadata, import, names, options, documentation."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import importlib_metadata
import pytest
from packaging.requirements import Requirement

from plugtune.capabilities import load_ref
from plugtune.options.groups import TRAIN_GROUPS, ExportOptions
from plugtune.options.resolve import trainer_specs
from plugtune.options.schema import OptionSpec, specs_of
from plugtune.plugins.host import LoadedPlugin
from plugtune.testkit.base import KitTests, installed, optional, python

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
CHEAP = """
import json, socket, sys
def refuse(event, details):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise OSError("importing the plugin uses the network")
sys.addaudithook(refuse)
from plugtune.plugins.discovery import discover
from plugtune.plugins.host import PluginHost, vet
host, found = PluginHost(), {}
for plugin in vet(discover(), host.policy):
    host.load_one(plugin)
    provides = sorted(f"{i.kind} {i.name}" for i in plugin.provides)
    found[plugin.name] = [plugin.status, plugin.reason, plugin.notes, provides]
print(json.dumps(found))
"""


@cache
def _loaded_anew() -> dict[str, Any]:
    """How every installed plugin fares in a new process without network."""
    done = python(CHEAP)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def refs_of(item: Any) -> list[str]:
    """Every `package.module:attribute` that a capability names."""
    values = (getattr(item, field.name) for field in dataclasses.fields(item) if "Ref" in str(field.type))
    flat = (part for value in values for part in (value if isinstance(value, tuple) else (value,)))
    return [ref for ref in flat if ref]


class PluginTests(KitTests):
    """Every plugin takes these."""

    def test_it_loads(self, loaded: LoadedPlugin) -> None:
        assert loaded.provides or self._hooks(loaded), "it provides no capability and implements no hook"

    def test_its_metadata_is_complete(self, loaded: LoadedPlugin) -> None:
        meta = importlib_metadata.metadata(loaded.distribution)
        assert (meta.get("Summary") or "").strip(), "pyproject.toml has no description"
        assert re.fullmatch(r"v\d+_\d+", loaded.api), f"plugtune.api is {loaded.api!r}, not of the form v1_0"
        ranges = [Requirement(r) for r in loaded.requires if Requirement(r).name == "plugtune"]
        signs = {s.operator for r in ranges for s in r.specifier}
        assert signs & {">=", "~=", "=="}, "dependencies name no lowest plugtune: write plugtune>=0.1,<0.2"
        assert signs & {"<", "<=", "~=", "=="}, (
            "dependencies name no first plugtune that is too new: plugtune>=0.1,<0.2"
        )

    @optional
    def test_it_has_a_readme(self, loaded: LoadedPlugin) -> None:
        meta = importlib_metadata.metadata(loaded.distribution)
        if not str(meta.json.get("description") or "").strip():
            pytest.skip('pyproject.toml names no readme: add readme = "README.md"')

    def test_importing_it_is_cheap_and_changes_nothing(self, loaded: LoadedPlugin) -> None:
        status, reason, notes, provides = _loaded_anew()[self.plugin]
        assert status == "ok", reason
        assert notes == [], "; ".join(notes)
        assert provides == sorted(f"{i.kind} {i.name}" for i in loaded.provides), (
            "it answers otherwise in a new process"
        )

    def test_it_answers_the_same_in_every_thread(self, loaded: LoadedPlugin) -> None:
        host = installed()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: repr(host.collected(loaded.name)), range(8)))
        assert set(answers) == {repr(loaded.provides)}, "collecting hooks must be pure"

    def test_names_and_summaries_are_fit_for_listings(self, loaded: LoadedPlugin) -> None:
        for item in loaded.provides:
            assert NAME.fullmatch(item.name), f"{item.kind} {item.name!r}: use letters, digits, . _ + -"
            summary = item.summary
            assert summary.strip(), f"{item.kind} {item.name} has no summary"
            assert "\n" not in summary, f"{item.kind} {item.name}: the summary is one line"
            assert len(summary) <= 120, f"{item.kind} {item.name}: the summary has {len(summary)} characters, of 120"

    def test_no_other_plugin_has_its_names(self, loaded: LoadedPlugin) -> None:
        for item in loaded.provides:
            owners = {
                p.name for p in installed().plugins for i in p.provides if (i.kind, i.name) == (item.kind, item.name)
            }
            assert owners == {self.plugin}, f"{item.kind} {item.name!r} belongs to {', '.join(sorted(owners))}"

    def test_the_code_it_names_is_there_and_documented(self, loaded: LoadedPlugin) -> None:
        for item in loaded.provides:
            for ref in refs_of(item):
                try:
                    target = load_ref(ref)
                except (ImportError, AttributeError, ValueError) as error:
                    pytest.fail(f"{item.kind} {item.name} names {ref}: {error}")
                assert callable(target) or item.kind == "command", f"{ref} is not callable"
                assert inspect.getdoc(target), f"{ref} has no docstring"

    def test_its_options_explain_themselves_and_take_their_defaults(self, loaded: LoadedPlugin) -> None:
        core = {s.name for group in (*TRAIN_GROUPS.values(), ExportOptions) for s in specs_of(group)}
        taken = core | {spec.name for spec in trainer_specs()}
        for item in loaded.provides:
            options = getattr(item, "options", None)
            for spec in specs_of(options) if options is not None else ():
                where = f"option {spec.name} of {item.kind} {item.name}"
                assert spec.name not in taken, f"{where} is core's or transformers' own option"
                assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name), f"{where}: small letters, digits, underscores"
                assert spec.help.strip().endswith("."), f"{where}: the help is a sentence: {spec.help!r}"
                _check_default(spec, where)

    def _hooks(self, loaded: LoadedPlugin) -> list[str]:
        plugin = installed().manager.get_plugin(loaded.name)
        return [caller.name for caller in installed().manager.get_hookcallers(plugin) or []]


def _check_default(spec: OptionSpec, where: str) -> None:
    from plugtune.options.coerce import WrongValue, coerce

    if spec.default is None:
        assert spec.nullable, f"{where}: the default is None; write its type as `{spec.type} | None`"
        return
    try:
        assert coerce(spec, spec.default) == spec.default, f"{where}: the default is not of its type"
    except WrongValue as wrong:
        pytest.fail(f"{where}: the default {spec.default!r} is refused: {wrong.reason}")
