"""Tests of hubs, data sets, sources of rows and commands."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest

from plugtune.capabilities import Command, DatasetEntry, Hub, load_ref
from plugtune.errors import RequestError
from plugtune.testkit.base import CapabilityTests, installed, optional, plugtune


class HubTests(CapabilityTests):
    """Tests of a hub."""

    kind = "hub"

    def test_it_shows_how_an_id_looks(self, item: Hub) -> None:
        assert item.example.strip(), "example is empty"
        assert not item.switch or item.switch == item.switch.upper(), "switch is an environment variable's name"

    def test_its_resolver_takes_what_core_gives(self, item: Hub) -> None:
        parameters = inspect.signature(load_ref(item.resolve)).parameters
        missing = {"revision", "token", "cache_dir", "kind"} - set(parameters)
        assert not missing, f"{item.resolve} takes no {', '.join(sorted(missing))}"

    @pytest.mark.parametrize("kind", ["model", "dataset"])
    def test_without_network_it_says_so(
        self, item: Hub, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(RequestError) as caught:
            load_ref(item.resolve)(item.example, revision=None, token=None, cache_dir=str(tmp_path), kind=kind)
        assert item.example in str(caught.value), "the message does not name the repository"
        assert caught.value.problems[0].fix, "the message names no way out"


class DatasetTests(CapabilityTests):
    """Tests of a named data set."""

    kind = "dataset"

    @optional
    def test_every_row_can_be_read(self, item: DatasetEntry) -> None:
        done = plugtune("data", "check", item.name)
        assert done.returncode == 0, done.stdout + done.stderr


class CommandTests(CapabilityTests):
    """Tests of a command."""

    kind = "command"

    def test_it_is_a_command_with_help(self, item: Command) -> None:
        assert isinstance(load_ref(item.target), click.Command), f"{item.target} is no click command"
        done = plugtune(item.name, "--help")
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


class SourceTests(CapabilityTests):
    """Tests of a source of rows.

    Attributes:
        address: an address that can be read in the tests; a fixture may set it on the class.
        settings: the entry's `source_options`.
        rows: how many rows are there, when it is known.
    """

    kind = "source"
    address: ClassVar[str] = ""
    settings: ClassVar[Mapping[str, Any]] = {}
    rows: ClassVar[int | None] = None

    def _rows(self, item: Any, **settings: Any) -> Any:
        return load_ref(item.rows)(self.address, {**self.settings, **settings})

    def test_it_claims_schemes(self, item: Any) -> None:
        assert item.schemes
        assert all(scheme == scheme.lower() and ":" not in scheme for scheme in item.schemes)

    def test_rows_come_one_after_another_and_the_same_every_time(self, item: Any) -> None:
        if not self.address:
            pytest.skip("no address is given: set `address` in a test class that inherits SourceTests")
        found = self._rows(item)
        assert iter(found) is iter(found), "rows must be an iterator, so that no table is held in memory"
        rows = list(found)
        assert all(isinstance(row, Mapping) for row in rows)
        assert self.rows is None or len(rows) == self.rows
        assert list(self._rows(item)) == rows, "the same rows, in the same order: resuming and caching rely on it"

    def test_a_wrong_address_is_told(self, item: Any) -> None:
        assert installed()
        with pytest.raises(RequestError) as caught:
            list(load_ref(item.rows)(f"{item.schemes[0]}:///nowhere/at/all", {**self.settings}))
        assert "nowhere" in str(caught.value)
