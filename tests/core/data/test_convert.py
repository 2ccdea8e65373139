"""Sets of one format become sets of another without loss; what a format cannot hold is told before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plugtune import Conversation, Document, Feedback, Message, Preference, ToolCall
from plugtune.data.convert import Target, convert_records, records_of
from plugtune.data.difference import first_difference
from plugtune.data.pipeline import converter, raw_rows
from plugtune.data.records import Where
from plugtune.data.register import register
from plugtune.data.registry import Registry
from plugtune.errors import DataError, RequestError

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "天气",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = ToolCall("weather", {"city": "北京", "days": 2, "metric": True})
PLAIN = Conversation(
    (
        Message("system", "Be  brief.\n"), Message("user", "a\nb "), Message("assistant", "c"), Message("user", "d"),
        Message("assistant", '{"name": "no call"}'),
    ),
    (TOOL,),
)  # fmt: skip
RICH = [
    PLAIN,
    Conversation((Message("user", "hi\u2028"), Message("assistant", " hello"))),
    Conversation(
        (
            Message("user", "weather?"), Message("assistant", "", (CALL,)), Message("tool", '{"t": 3}'),
            Message("assistant", "cold", train=False), Message("user", "and here?"),
            Message("assistant", "", (CALL, ToolCall("place", {})), train=False), Message("tool", "1"), Message("tool", "2"),
            Message("assistant", "So:", (CALL,)), Message("tool", "ok"), Message("assistant", "warm", reasoning="3 < 20"),
        ),
        (TOOL, {"name": "place", "parameters": {}}),
    ),
]  # fmt: skip
PREFERENCES = [
    Preference(Conversation((Message("user", "a"),)), Message("assistant", "good"), Message("assistant", "bad")),
    Preference(Conversation(PLAIN.messages[:-1], (TOOL,)), Message("assistant", "x"), Message("assistant", "y")),
]
FEEDBACK = [Feedback(PLAIN, True), Feedback(RICH[1], False)]


def written(host, records: list[Any], to: str, kind: str, output: Path) -> Any:
    source = ((Where("made", number), record) for number, record in enumerate(records, 1))
    done = convert_records(source, Target(host.catalog, to, kind), output, name="made", kind=kind)
    register(output.parent, "set", done.entry)
    return Registry.open(host.catalog, str(output.parent)).resolve("set")


def read(spec: Any, kind: str) -> list[Any]:
    convert = converter(spec, kind)
    return [convert(raw.values) for raw in raw_rows(spec)]


@pytest.mark.parametrize(
    ("to", "kind", "records"),
    [
        ("sharegpt", "conversation", RICH), ("openai", "conversation", RICH), ("alpaca", "conversation", RICH[:2]),
        ("sharegpt", "preference", PREFERENCES), ("openai", "preference", PREFERENCES), ("alpaca", "preference", PREFERENCES),
        ("sharegpt", "feedback", FEEDBACK), ("openai", "feedback", FEEDBACK), ("alpaca", "feedback", FEEDBACK),
        ("text", "document", [Document("a\n\nb "), Document("你好")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_every_record_reads_back_as_it_was(host, tmp_path, to, kind, records, ending):
    spec = written(host, records, to, kind, tmp_path / f"out.{ending}")
    assert spec.format.name == to
    assert read(spec, kind) == records
    assert first_difference(read(spec, kind), records) == ""
    # The file says what it is without its entry too.
    alone = Registry(host.catalog).resolve(str(tmp_path / f"out.{ending}"))
    assert read(alone, kind) == records


@pytest.mark.parametrize("first", ["sharegpt", "openai"])
@pytest.mark.parametrize("second", ["sharegpt", "openai"])
def test_a_chain_of_conversions_loses_nothing(host, tmp_path, first, second):
    spec = written(host, RICH, first, "conversation", tmp_path / "one" / "a.jsonl")
    target = Target(host.catalog, second, "conversation")
    convert_records(records_of(spec, "conversation"), target, tmp_path / "b.json", name="b", kind="conversation")
    assert read(Registry(host.catalog).resolve(str(tmp_path / "b.json")), "conversation") == RICH


def test_masks_survive_columnar_files_whose_other_messages_have_null(host, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec = written(host, [RICH[1], Conversation((Message("user", "a"), Message("assistant", "b", train=False)))],
                   "openai", "conversation", tmp_path / "a.json")  # fmt: skip
    pq.write_table(pa.Table.from_pylist([dict(raw.values) for raw in raw_rows(spec)]), tmp_path / "a.parquet")
    found = read(Registry(host.catalog).resolve(str(tmp_path / "a.parquet")), "conversation")
    assert [[m.train for m in record.messages] for record in found] == [[True, True], [True, False]]


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        (RICH[2], "messages[2]", "a tool call"),
        (Conversation((Message("user", "a"), Message("assistant", "b", train=False))), "messages[2]", "not trained on"),
        (Conversation((Message("user", "a"), Message("assistant", "b", reasoning="c"))), "messages[2]", "thoughts"),
        (Conversation((Message("user", " "), Message("assistant", "b"))), "instruction", "it is empty"),
        (
            Conversation((Message("system", ""), Message("user", "a"), Message("assistant", "b"))),
            "messages",
            "differently",
        ),
        (Conversation((Message("user", "\ud800"), Message("assistant", "b"))), "", "JSON cannot write"),
    ],
)
def test_what_the_target_cannot_hold_is_named_and_nothing_is_written(host, tmp_path, record, field, reason):
    (tmp_path / "out.json").write_text("before")
    with pytest.raises(DataError, match=reason) as caught:
        written(host, [PLAIN, record], "alpaca", "conversation", tmp_path / "out.json")
    assert "made, row 2" in str(caught.value)
    assert field in str(caught.value)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.json", "before")]


def test_kinds_that_do_not_fit_and_formats_that_do_not_exist_are_told(host):
    with pytest.raises(RequestError, match="holds no document rows") as caught:
        Target(host.catalog, "sharegpt", "document")
    assert "one of text" in str(caught.value)
    with pytest.raises(RequestError, match="'alpaca'"):
        Target(host.catalog, "alpacca", "conversation")


def test_differences_are_found_that_equality_does_not_see():
    one, other = ToolCall("f", {"n": 1}), ToolCall("f", {"n": True})
    assert one == other
    assert first_difference(one, other) == "arguments.n"
    assert first_difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) == "keys"


def test_the_program_converts_checks_counts_and_registers(plugtune, tmp_path):
    rows = [{"instruction": "a", "output": "b", "history": [["q", "r"]]}, {"instruction": "", "output": "x"}]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    command = ["data", "convert", tmp_path / "a.json", "--to", "openai", "--output", tmp_path / "out" / "b.jsonl",
               "--register", "b", "--json"]  # fmt: skip
    refused = plugtune(*command)
    assert refused.returncode == 2
    assert "a.json, row 2" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list((tmp_path / "out").iterdir())
    done = json.loads(plugtune(*command, "--max_bad_rows", 1).stdout)
    assert (done["rows"], done["bad"]["rows"]) == (1, 1)
    assert done["entry"] == {"file_name": "b.jsonl", "formatting": "openai"}
    checked = plugtune("data", "check", "b", "--dataset_dir", tmp_path / "out", "--json")
    assert json.loads(checked.stdout)["good"] == 1
    same = plugtune("data", "convert", tmp_path / "a.json", "--output", tmp_path / "a.json")
    assert same.returncode == 2
    assert "is read by this conversion" in same.stderr
    assert json.loads((tmp_path / "a.json").read_text()) == rows
