"""Company files without code: paths, joins, filters, constants, roles; sources and filters of plugins."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import plugtune
import pytest
from plugtune import Conversation, Document, Message
from plugtune.cli.main import run
from plugtune.data.filters import record_filters
from plugtune.data.paths import MISSING, value_at
from plugtune.data.pipeline import converter, raw_rows
from plugtune.data.records import RowError, RowLeftOut
from plugtune.data.registry import Registry
from plugtune.data.work import Work
from plugtune.errors import DataError, PluginError
from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy


def entry(tmp_path: Path, host: PluginHost, info: dict[str, Any], **files: str) -> Any:
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": info}), encoding="utf-8")
    return Registry.open(host.catalog, str(tmp_path)).resolve("rows")


def records(spec: Any, kind: str = "conversation") -> list[Any]:
    convert, found = converter(spec, kind), []
    for raw in raw_rows(spec):
        try:
            found.append(convert(raw.values))
        except (RowError, RowLeftOut) as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", {"b": [{"c": 1}, {"c": 2}]}), ("a.b[0].c", 1), ("a.b[-1].c", 2), ("a.b[2].c", MISSING), ("x", MISSING),
     ("d.e", "a column of that name"), ("a.c", MISSING), ("a[0]", MISSING)],
)  # fmt: skip
def test_a_path_names_a_value_inside_a_row(path, value):
    assert value_at({"a": {"b": [{"c": 1}, {"c": 2}]}, "d.e": "a column of that name"}, path) == value


@pytest.mark.parametrize("path", ["", ".a", "a.", "a..b", "a[x]", "[0]", "a[0", "a[0]b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="no column path"):
        value_at({}, path)


def test_columns_of_any_format_may_be_paths(tmp_path, host):
    info = {"file_name": "rows.jsonl", "columns": {"prompt": "ticket.body", "response": "replies[-1].text"}}
    row = {"ticket": {"body": "Dead."}, "replies": [{"text": "We look."}, {"text": "Fixed."}]}
    spec = entry(tmp_path, host, info, rows__jsonl=json.dumps(row) + "\n" + json.dumps({"ticket": {}, "replies": []}))
    good, bad = records(spec)
    assert good == Conversation((Message("user", "Dead."), Message("assistant", "Fixed.")))
    assert "has no such column" in bad


QUESTIONS = "question_id,content,status\n1,Why?,closed\n2,Spam,spam\n3,How old?,closed\n4,Nobody,closed\n"
ANSWERS = "question_id,content,rating\n1,Because.,5\n1,No idea.,1\n3,Very old.,4\n"


def test_joins_filters_and_constants_with_every_row_accounted_for(tmp_path, host):
    mapping = {
        "join": [{"file": "answers.csv", "on": "question_id"}],
        "where": [{"column": "status", "equals": "closed"}, {"column": "answers.rating", "at_least": 3}],
        "columns": {
            "instruction": {"template": "{question_id}: {content}"}, "input": {"constant": "in short"},
            "output": "answers.content",
        },
    }  # fmt: skip
    info = {"file_name": "questions.csv", "mapping": mapping}
    spec = entry(tmp_path, host, info, questions__csv=QUESTIONS, answers__csv=ANSWERS)
    assert spec.format.name == "alpaca"
    found = records(spec)
    assert found[0] == Conversation((Message("user", "1: Why?\nin short"), Message("assistant", "Because.")))
    assert found[1] == "not kept by the mapping: answers.rating at least 3"
    assert found[2] == "no row of answers.csv has the same question_id"
    assert found[3].messages[1].content == "Very old."
    assert found[4] == "no row of answers.csv has the same question_id"
    # pandas is an independent witness of the join
    import pandas

    joined = pandas.merge(
        pandas.read_csv(tmp_path / "questions.csv"),
        pandas.read_csv(tmp_path / "answers.csv"),
        on="question_id",
        suffixes=("", "_a"),
    )
    kept = joined[(joined.status == "closed") & (joined.rating >= 3)]
    assert list(kept.content_a) == [r.messages[1].content for r in found if isinstance(r, Conversation)]


def test_roles_of_ones_own_become_messages(tmp_path, host):
    mapping = """
columns:
  good: {path: score, map: {up: true, down: false}}
messages:
  from: turns
  role: who
  content: says
  roles: {caller: user, agent: assistant, music: null}
  leading: system
  trailing: drop
"""
    turns = [{"who": "agent", "says": "Hello."}, {"who": "caller", "says": "My line"}, {"who": "caller", "says": "is dead."},
             {"who": "music"}, {"who": "agent", "says": "We check."}, {"who": "caller", "says": "Bye."}]  # fmt: skip
    rows = [
        {"turns": turns, "score": "up"},
        {"turns": [{"who": "robot", "says": "x"}], "score": "up"},
        {"turns": turns, "score": "left"},
    ]
    info = {"file_name": "calls.jsonl", "mapping": "calls.yaml"}
    spec = entry(tmp_path, host, info, calls__yaml=mapping, calls__jsonl="\n".join(map(json.dumps, rows)))
    assert spec.format.name == "openai"  # recognised from what the mapping makes
    good, unknown, unmapped = records(spec)
    assert good.messages == (
        Message("system", "Hello."),
        Message("user", "My line\nis dead."),
        Message("assistant", "We check."),
    )
    assert "unknown role 'robot'; known: caller, agent, music" in unknown
    assert "'left' is none of 'up', 'down'" in unmapped


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"joins": []}, ["unknown key 'joins'", "'join'"]),
        ({"join": [{"file": "nothing.csv", "on": "a"}]}, ["nothing.csv does not exist"]),
        ({"where": [{"column": "a", "is": 1}]}, ["unknown key 'is'", "where 1"]),
        ({"where": [{"column": "a"}]}, ["a column and one test"]),
        ({"where": [{"column": "a..b", "equals": 1}]}, ["no column path"]),
        ({"columns": {"x": {"path": "a", "constant": 1}}}, ["column 'x'", "one of path, constant and template"]),
        ({"messages": {"from": "t", "roles": {"a": "usr"}}}, ["'usr'", "'user'"]),
        ({"messages": {"from": "t", "leading": "away"}}, ["leading is 'away'"]),
        ("missing.yaml", ["missing.yaml does not exist"]),
    ],
)
def test_a_wrong_mapping_is_told_with_its_place(tmp_path, host, mapping, words):
    with pytest.raises(DataError) as caught:
        entry(tmp_path, host, {"file_name": "rows.csv", "mapping": mapping}, rows__csv="a,b\n1,2\n")
    assert all(word in str(caught.value) for word in words), caught.value


def _plugin(**functions: Any) -> Any:
    module = types.SimpleNamespace(__name__="example")
    for name, function in functions.items():
        setattr(module, name, plugtune.hookimpl(function))
    return module


def _rows(address, options):
    """Rows for the tests."""
    assert options.get("password") != "${secret:db}"
    yield from ({"instruction": f"Q{n}", "output": f"A{n} {address}"} for n in range(3))


def _host(host: PluginHost, **plugins: Any) -> PluginHost:
    modules = [(p.name, host.manager.get_plugin(p.name)) for p in host.plugins]
    return PluginHost(
        plugins=[*modules, *((n.replace("_", "-"), m) for n, m in plugins.items())], policy=Policy()
    ).load()


def test_rows_come_from_a_plugins_source_and_secrets_are_put_in_when_it_is_opened(tmp_path, host, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "example_source", types.SimpleNamespace(rows=_rows))

    def plugtune_sources():
        return [plugtune.DataSource(name="mem", summary="in memory", schemes=("mem",), rows="example_source:rows")]

    with_source = _host(host, source=_plugin(plugtune_sources=plugtune_sources))
    info = {
        "source": "mem://user:${secret:db}@here",
        "source_options": {"password": "${secret:db}"},
        "formatting": "alpaca",
    }
    spec = entry(tmp_path, with_source, info)
    with pytest.raises(PluginError, match="secret 'db'"):
        list(raw_rows(spec))
    full = _host(
        host, source=_plugin(plugtune_sources=plugtune_sources),
        secrets=_plugin(plugtune_secret=lambda name: "hush" if name == "db" else None),
    )  # fmt: skip
    spec = entry(tmp_path, full, info)
    rows = list(raw_rows(spec))
    assert rows[2].values["output"] == "A2 mem://user:hush@here"
    assert str(rows[2].where) == "mem://user:***@here, row 3"
    with pytest.raises(DataError, match="scheme 'men'"):
        entry(tmp_path, full, {"source": "men://here"})


class _Encoder:
    """Counts characters instead of tokens."""

    fingerprint, columns = "test", ("input_ids", "labels")

    def encode(self, records):
        from plugtune.data.encoding import EncodedRow

        return [[EncodedRow({"input_ids": [1] * len(r.text), "labels": [1] * len(r.text)})] for r in records]


def test_filters_change_leave_out_and_refuse_rows_and_each_is_counted_with_its_plugin(host):
    def mask(record, where):
        return Document(record.text.replace("secret", "***")) if "secret" in record.text else None

    def leave_out(record):
        if "spam" in record.text:
            raise RowLeftOut("it is spam")

    def refuse(record, where):
        if where.row == 4:
            raise RowError("not this one", field="text")
        if where.row == 5:
            raise KeyError("oops")

    filtered = _host(
        host, a_mask=_plugin(plugtune_filter_record=mask), b_spam=_plugin(plugtune_filter_record=leave_out),
        c_refuse=_plugin(plugtune_filter_record=refuse),
    )  # fmt: skip
    filters = record_filters(filtered)
    assert [f.plugin for f in filters] == ["a-mask", "b-spam", "c-refuse"]
    from plugtune.data.records import RawRow, Where

    texts = ["a secret", "some spam", "plain", "x", "y"]
    rows = [RawRow({"text": text}, Where("f", n)) for n, text in enumerate(texts, 1)]
    work = Work("set", lambda row: Document(row["text"]), _Encoder(), filters)
    count = work(rows).count.as_json()
    assert count["changed"] == {"plugin a-mask": {"rows": 1, "first_rows": [1]}}
    assert count["dropped"] == {"plugin b-spam: it is spam": {"rows": 1, "first_rows": [2]}}
    assert count["bad"]["rows"] == 2
    assert "plugin c-refuse failed on it: KeyError: 'oops'" in count["bad"]["first"][1]
    assert count["kept"] == 2


def test_a_converter_that_fails_is_told_with_its_format_and_row(tmp_path, host):
    import sys

    def make_converter(columns, tags, *, kind):
        return lambda row: row["nothing"]

    sys.modules["broken_format"] = types.SimpleNamespace(make_converter=make_converter)  # type: ignore[assignment]
    broken = _plugin(
        plugtune_formats=lambda: [
            plugtune.DatasetFormat(name="broken", summary="x", convert="broken_format:make_converter")
        ]
    )
    spec = entry(tmp_path, _host(host, broken=broken), {"file_name": "r.csv", "formatting": "broken"}, r__csv="a\n1\n")
    (said,) = records(spec)
    assert said == "format broken failed on it: KeyError: 'nothing'"


def test_the_data_check_counts_rows_that_a_mapping_leaves_out(tmp_path, capsys, host):
    info = {"file_name": "rows.csv", "mapping": {"where": [{"column": "n", "not_in": [2]}]}}
    entry(tmp_path, host, info, rows__csv="n,instruction,output\n1,a,b\n2,a,b\n3,a,b\n")
    assert run(["data", "check", "rows", "--dataset_dir", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["read"], answer["good"], answer["bad"]) == (3, 2, 0)
    assert answer["dropped"] == {"not kept by the mapping: n not in [2]": {"rows": 1, "first_rows": [2]}}
