"""Tests of a dataset format: good rows, bad rows, renamed columns, the report that the program prints."""

from __future__ import annotations

import copy
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.capabilities import DatasetFormat, load_ref
from plugtune.data.records import RECORDS, RowError, RowLeftOut
from plugtune.testkit.base import CapabilityTests, optional, plugtune

Row = Mapping[str, Any]
ODD: tuple[Any, ...] = (None, "", 3.5, True, [], {}, [None], {"a": 1}, ["x"], "\ud7ff" * 3)
"""Values that a column of a real file may hold."""


class FormatTests(CapabilityTests):
    """Tests of a format.

    Attributes:
        good: rows that must be read, each with its record, or `None` when the record is not compared.
        bad: rows that must be refused, each with a part of the field's name that the message must hold.
        makes: what the rows are read as; the format's first kind when empty.
        columns, tags: what a registry entry would name; the format's defaults apply otherwise.
    """

    kind = "format"
    good: ClassVar[Sequence[tuple[Row, Any]]] = ()
    bad: ClassVar[Sequence[tuple[Row, str]]] = ()
    makes: ClassVar[str] = ""
    columns: ClassVar[Mapping[str, str | None]] = {}
    tags: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(scope="class")
    def convert(self, item: DatasetFormat) -> Callable[[Row], Any]:
        """The converter as a run makes it."""
        return self._converter(item, {})

    @pytest.fixture(autouse=True)
    def _has_rows(self, request: pytest.FixtureRequest) -> None:
        if not self.good:
            pytest.skip("no rows are given: set `good` and `bad` in a test class that inherits FormatTests")

    def _converter(self, item: DatasetFormat, renamed: Mapping[str, str]) -> Callable[[Row], Any]:
        columns = {**item.columns, **self.columns, **renamed}
        made: Callable[[Row], Any] = load_ref(item.convert)(columns, {**item.tags, **self.tags}, kind=self._kind(item))
        return made

    def _kind(self, item: DatasetFormat) -> str:
        return self.makes or item.makes[0]

    def test_good_rows_become_their_records(self, item: DatasetFormat, convert: Callable[[Row], Any]) -> None:
        for number, (row, expected) in enumerate(self.good, 1):
            record = convert(row)
            assert isinstance(record, RECORDS[self._kind(item)]), f"row {number} became {type(record).__name__}"
            if expected is not None:
                assert record == expected, f"row {number}"

    def test_bad_rows_are_refused_and_the_field_is_named(self, convert: Callable[[Row], Any]) -> None:
        assert self.bad, "no bad rows are given: what must the format refuse?"
        for number, (row, field) in enumerate(self.bad, 1):
            with pytest.raises(RowError) as caught:
                convert(row)
            message = str(caught.value)
            assert field in message, f"bad row {number}: the message does not name {field!r}: {message}"
            assert caught.value.reason.strip(), f"bad row {number}: the message gives no reason"

    def test_whatever_a_column_holds_is_read_or_refused(
        self, item: DatasetFormat, convert: Callable[[Row], Any]
    ) -> None:
        for row, _ in self.good:
            for damaged in _damaged(row):
                try:
                    record = convert(damaged)
                except (RowError, RowLeftOut):
                    continue
                except Exception as error:
                    pytest.fail(f"{damaged!r} raises {type(error).__name__}: {error}; raise plugtune.RowError instead")
                assert isinstance(record, RECORDS[self._kind(item)])

    def test_rows_are_left_as_they_are(self, convert: Callable[[Row], Any]) -> None:
        for row, _ in self.good:
            before = copy.deepcopy(row)
            convert(row)
            assert row == before, "the converter changed its row"

    def test_columns_can_be_renamed(self, item: DatasetFormat) -> None:
        columns = {**item.columns, **self.columns}
        used = {role: name for role, name in columns.items() if name and any(name in row for row, _ in self.good)}
        renamed = self._converter(item, {role: f"other {name}" for role, name in used.items()})
        plain = self._converter(item, {})
        for row, _ in self.good:
            moved = {(f"other {name}" if name in used.values() else name): value for name, value in row.items()}
            assert renamed(moved) == plain(row), "it ignores the column names that dataset_info.json gives"

    def test_threads_and_processes_get_the_same(self, convert: Callable[[Row], Any]) -> None:
        rows = [row for row, _ in self.good]
        expected = repr([convert(row) for row in rows])
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: repr([convert(row) for row in rows]), range(16))) == {expected}
        context = multiprocessing.get_context("fork")
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=lambda: writer.send(repr([convert(row) for row in rows])))
        process.start()
        assert reader.poll(30)
        assert reader.recv() == expected
        process.join()

    def test_the_program_reads_the_good_rows_and_names_the_bad_ones(self, item: DatasetFormat, tmp_path: Path) -> None:
        entry: dict[str, Any] = {
            "file_name": "rows.jsonl",
            "formatting": item.name,
            "columns": self.columns,
            "tags": self.tags,
        }
        if self._kind(item) == "preference":
            entry["ranking"] = True
        (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": entry}), encoding="utf-8")
        rows = [row for row, _ in (*self.good, *self.bad)]
        text = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
        done = plugtune("data", "check", "rows", "--dataset_dir", tmp_path, "--json")
        assert done.returncode == (2 if self.bad else 0), done.stderr
        report = json.loads(done.stdout)
        assert (report["read"], report["bad"]) == (len(rows), len(self.bad))
        assert all("rows.jsonl, row " in text for text in report["first_bad"])

    @optional
    def test_it_recognises_its_rows_and_no_others(self, item: DatasetFormat) -> None:
        if not item.recognise:
            pytest.skip("the format names no `recognise`, so its files must be registered")
        recognise = load_ref(item.recognise)
        assert recognise([row for row, _ in self.good]) is not None, "it does not recognise its own rows"
        strangers: list[list[dict[str, Any]]] = [[{"some": 1, "thing": "else"}], [{}], []]
        for foreign in strangers:
            assert recognise(foreign) is None, f"it claims rows like {foreign}"

    @optional
    def test_what_it_writes_reads_back(self, item: DatasetFormat, convert: Callable[[Row], Any]) -> None:
        from plugtune.data.convert import Target
        from plugtune.data.writable import WritableFormat
        from plugtune.testkit.base import installed

        if not isinstance(item, WritableFormat):
            pytest.skip("the format is only read, not written")
        target = Target(installed().catalog, item.name, self._kind(item))  # type: ignore[arg-type]
        for row, _ in self.good:
            target.text(convert(row))  # refuses whatever would read back differently


def _damaged(row: Row) -> list[dict[str, Any]]:
    """The row without each of its columns, and with an odd value in each."""
    found: list[dict[str, Any]] = [{}]
    for name in row:
        found.append({key: value for key, value in row.items() if key != name})
        found += [{**row, name: odd} for odd in ODD]
    return found
