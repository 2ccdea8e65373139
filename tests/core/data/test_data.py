"""Files are read with exact places for what is wrong; nothing is dropped without being counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugtune.data.encoding import Dropped, EncoderContext
from plugtune.data.lengths import LengthRules, assemble, share
from plugtune.data.packing import first_fit_decreasing
from plugtune.data.pipeline import prepare
from plugtune.data.records import RowError, TokenizedChat
from plugtune.data.registry import Registry
from plugtune.data.sources import read_rows
from plugtune.errors import DataError
from plugtune.options.groups import DataOptions
from plugtune.templating.choose import bind

ROW = {"instruction": "Say hi", "input": "", "output": "Hi!"}


def write(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def prepared(host, tokenizer, folder: Path, **options):
    data = DataOptions(dataset_dir=str(folder), **options)
    template = bind("chatml", host.catalog, tokenizer)
    from plugtune.data.conversation_encoder import ConversationEncoder

    return prepare(
        data, host.catalog, row_kind="conversation", seed=42,
        encoder_for=lambda training: ConversationEncoder(EncoderContext(tokenizer, template, data, None, training)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"a": 1},\n{"b": }]', "line 2, column 7"),
        ("a.json", '[{"a": 1}', "ends inside the array"),
        ("a.json", "", "is empty"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", '{"a": 1}', "is an array of rows"),
        ("a.json", "[1]", "must be an object"),
        ("a.jsonl", '{"a": 1}\n{"b"\n', "line 2"),
        ("a.csv", "a,b\n1\n", "line 2"),
        ("a.xyz", "", "type that cannot be read"),
    ],
)
def test_a_broken_file_is_named_with_line_and_reason(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        list(read_rows(write(tmp_path / name, content)))
    assert name in str(caught.value)


def test_a_file_that_is_not_utf8_names_the_line_and_the_way_out(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "ok"}\n{"a": "' + "你".encode("gb18030") + b'"}\n')
    with pytest.raises(DataError, match="line 2") as caught:
        list(read_rows(tmp_path / "a.jsonl"))
    assert "iconv" in str(caught.value)


def test_a_json_array_larger_than_the_buffer_is_read_row_by_row(tmp_path):
    rows = [{"n": n, "text": "x" * 50_000, "f": 1.5e10} for n in range(100)]
    file = write(tmp_path / "big.json", "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]")
    found = list(read_rows(file))
    assert [dict(row.values) for row in found] == rows
    assert [row.where.line for row in found] == list(range(2, 102))


def test_all_file_types_give_the_same_rows(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"instruction": "你好", "output": "a"}, {"instruction": "b", "output": "c\nd"}]
    write(tmp_path / "a.json", rows)
    write(tmp_path / "a.jsonl", "\n".join(json.dumps(r) for r in rows))
    write(tmp_path / "a.csv", 'instruction,output\n你好,a\nb,"c\nd"\n')
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, pa.Table.from_pylist(rows).schema) as out,
    ):
        out.write_table(pa.Table.from_pylist(rows))
    for kind in ("json", "jsonl", "csv", "parquet", "arrow"):
        assert [dict(r.values) for r in read_rows(tmp_path / f"a.{kind}")] == rows, kind


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file_name": "a.json", "formattin": "alpaca"}, "unknown key 'formattin'"),
        ({"file_name": "a.json", "formatting": "alpacca"}, "'alpaca'"),
        ({"file_name": "a.json", "columns": {"promt": "x"}}, "unknown key 'promt'"),
        ({"file_name": "gone.json"}, "does not exist"),
        ({"file_name": "a.json", "file_sha1": "00"}, "SHA-1"),
        ({"script_url": "x"}, "allow_dataset_scripts"),
        ({}, "names no source"),
    ],
)
def test_a_wrong_registry_entry_is_explained(host, tmp_path, entry, message):
    write(tmp_path / "a.json", [ROW])
    write(tmp_path / "dataset_info.json", {"x": entry})
    with pytest.raises(Exception, match=message) as caught:
        Registry.open(host.catalog, str(tmp_path)).resolve("x")
    assert caught.value.exit_code == 2


def test_an_unknown_data_set_offers_near_names(host, tmp_path):
    write(tmp_path / "dataset_info.json", {"identity": {"file_name": "a.json"}})
    with pytest.raises(DataError, match="did you mean 'identity'"):
        Registry.open(host.catalog, str(tmp_path)).resolve("identiy")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "x"}, "field 'output'"),
        ({"instruction": "", "output": "y"}, "field 'instruction'"),
        ({"instruction": "x", "output": " "}, "it is empty"),
        ({"instruction": "x", "output": 3}, "expected text, found int"),
    ],
)
def test_a_bad_row_stops_the_run_and_is_named(host, tokenizer, tmp_path, row, message):
    write(tmp_path / "a.json", [ROW, row])
    write(tmp_path / "dataset_info.json", {"x": {"file_name": "a.json"}})
    with pytest.raises(DataError, match=message) as caught:
        prepared(host, tokenizer, tmp_path, dataset=["x"])
    assert "a.json, row 2" in str(caught.value)
    result = prepared(host, tokenizer, tmp_path, dataset=["x"], max_bad_rows=1)
    assert len(result.train) == 1
    assert result.report.sets[0]["bad"]["rows"] == 1


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([("human", "a"), ("human", "b")], "expected assistant, found user"),
        ([("gpt", "a")], "expected user"),
        ([("human", "a"), ("gpt", "b"), ("human", "c")], "last message must be an answer"),
        ([("human", "a"), ("bot", "b")], "unknown role 'bot'"),
        ([("human", "a"), ("gpt", "")], "the answer is empty"),
        ([("human", "a"), ("function_call", "no json")], "must be JSON"),
    ],
)
def test_wrong_roles_and_order_are_named_with_the_message(host, tokenizer, tmp_path, messages, message):
    write(tmp_path / "a.json", [{"conversations": [{"from": r, "value": v} for r, v in messages]}])
    with pytest.raises(DataError, match=message):
        prepared(host, tokenizer, tmp_path, dataset=[str(tmp_path / "a.json")])


def test_prepared_rows_come_from_the_cache_until_something_changes(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [ROW] * 3)
    options = {"dataset": [str(tmp_path / "a.json")]}
    first = prepared(host, tokenizer, tmp_path, **options)
    again = prepared(host, tokenizer, tmp_path, **options)
    assert (first.report.sets[0]["cached"], again.report.sets[0]["cached"]) == (False, True)
    assert again.train.to_list() == first.train.to_list()
    assert not prepared(host, tokenizer, tmp_path, **options, overwrite_cache=True).report.sets[0]["cached"]
    assert not prepared(host, tokenizer, tmp_path, **options, cutoff_len=16).report.sets[0]["cached"]
    write(tmp_path / "a.json", [ROW] * 4)
    assert len(prepared(host, tokenizer, tmp_path, **options).train) == 4


def test_worker_processes_give_the_same_rows_in_the_same_order(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [{**ROW, "input": f"number {n}"} for n in range(500)])
    options = {"dataset": [str(tmp_path / "a.json")], "preprocessing_batch_size": 50, "overwrite_cache": True}
    alone = prepared(host, tokenizer, tmp_path, **options, preprocessing_num_workers=1).train.to_list()
    assert prepared(host, tokenizer, tmp_path, **options, preprocessing_num_workers=2).train.to_list() == alone


def test_val_size_max_samples_and_tokenized_path(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [{**ROW, "input": str(n)} for n in range(20)])
    options = {"dataset": [str(tmp_path / "a.json")], "max_samples": 10, "val_size": 0.2}
    result = prepared(host, tokenizer, tmp_path, **options, tokenized_path=str(tmp_path / "kept"))
    assert (len(result.train), len(result.evaluation)) == (8, 2)
    (tmp_path / "a.json").unlink()
    loaded = prepared(host, tokenizer, tmp_path, **options, tokenized_path=str(tmp_path / "kept"))
    assert loaded.train.to_list() == result.train.to_list()


def test_kept_rows_may_lie_in_any_file_system(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [{**ROW, "input": str(n)} for n in range(20)])
    options = {"dataset": [str(tmp_path / "a.json")], "tokenized_path": "memory://kept"}
    rows = prepared(host, tokenizer, tmp_path, **options).train.to_list()
    (tmp_path / "a.json").unlink()
    assert prepared(host, tokenizer, tmp_path, **options).train.to_list() == rows


def test_packs_hold_every_row_once(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [{**ROW, "input": "word " * n} for n in range(20)])
    options = {"dataset": [str(tmp_path / "a.json")], "cutoff_len": 64}
    rows = [row["input_ids"] for row in prepared(host, tokenizer, tmp_path, **options).train]
    packs = prepared(host, tokenizer, tmp_path, **options, packing=True).train
    taken = []
    for pack in packs:
        assert len(pack["input_ids"]) == sum(pack["lengths"]) <= 64
        ends = [sum(pack["lengths"][: n + 1]) for n in range(len(pack["lengths"]))]
        taken += [pack["input_ids"][end - size : end] for end, size in zip(ends, pack["lengths"], strict=True)]
    assert sorted(taken) == sorted(rows)
    assert len(packs) < len(rows)


def test_packs_may_be_longer_than_the_longest_row(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [{**ROW, "input": "word " * n} for n in range(40)])
    options = {"dataset": [str(tmp_path / "a.json")], "cutoff_len": 64}
    rows = [row["input_ids"] for row in prepared(host, tokenizer, tmp_path, **options).train]
    packs = list(prepared(host, tokenizer, tmp_path, **options, packing=True, packing_length=200).train)
    assert all(len(pack["input_ids"]) == sum(pack["lengths"]) <= 200 for pack in packs)
    assert max(max(pack["lengths"]) for pack in packs) <= 64 < max(len(pack["input_ids"]) for pack in packs)
    assert sum(len(pack["lengths"]) for pack in packs) == len(rows)
    assert len(packs) <= -(-sum(map(len, rows)) // 200) + 1


def test_a_stream_is_packed_too_and_loses_no_row(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [{**ROW, "input": "word " * (n % 9)} for n in range(50)])
    options = {"dataset": [str(tmp_path / "a.json")], "cutoff_len": 64}
    rows = [row["input_ids"] for row in prepared(host, tokenizer, tmp_path, **options).train]
    options |= {"streaming": True, "preprocessing_batch_size": 20}
    packs = list(prepared(host, tokenizer, tmp_path, **options, packing=True, packing_length=128).train)
    taken = []
    for pack in packs:
        assert set(pack) == {"input_ids", "labels", "lengths"}
        assert len(pack["labels"]) == len(pack["input_ids"]) == sum(pack["lengths"]) <= 128
        ends = [sum(pack["lengths"][: n + 1]) for n in range(len(pack["lengths"]))]
        taken += [pack["input_ids"][end - size : end] for end, size in zip(ends, pack["lengths"], strict=True)]
    assert sorted(taken) == sorted(rows)
    assert len(packs) < len(rows)


class Killed(BaseException):
    """What a kill looks like from inside: nothing catches it."""


def test_a_preparation_that_was_killed_goes_on_behind_its_last_whole_shard(host, tokenizer, tmp_path, monkeypatch):
    from plugtune.data import shards
    from plugtune.data.conversation_encoder import ConversationEncoder

    monkeypatch.setattr(shards, "BATCHES", 2)
    write(tmp_path / "a.json", [{**ROW, "input": f"row {n}"} for n in range(30)])
    options = {"dataset": [str(tmp_path / "a.json")], "preprocessing_batch_size": 3}
    seen, encode, limit = [], ConversationEncoder.encode, [17]

    def counting(self, records):
        seen.extend(r.messages[0].content for r in records)
        if len(seen) > limit[0]:
            raise Killed
        return encode(self, records)

    monkeypatch.setattr(ConversationEncoder, "encode", counting)
    with pytest.raises(Killed):
        prepared(host, tokenizer, tmp_path, **options)
    seen.clear()
    limit[0] = 1000
    result = prepared(host, tokenizer, tmp_path, **options)
    assert seen == [f"{ROW['instruction']}\nrow {n}" for n in range(12, 30)], "two shards of six rows were whole"
    assert result.report.sets[0]["read"] == 30
    monkeypatch.setattr(shards, "BATCHES", 20)
    again = prepared(host, tokenizer, tmp_path, **options, overwrite_cache=True)
    assert again.train.to_list() == result.train.to_list()
    assert again.report.sets[0]["length"] == result.report.sets[0]["length"]


def test_streamed_rows_are_the_prepared_rows(host, tokenizer, tmp_path):
    write(tmp_path / "a.json", [{**ROW, "input": str(n)} for n in range(20)])
    options = {"dataset": [str(tmp_path / "a.json")]}
    stream = prepared(host, tokenizer, tmp_path, **options, streaming=True, buffer_size=1).train
    assert [r["input_ids"] for r in stream] == [
        r["input_ids"] for r in prepared(host, tokenizer, tmp_path, **options).train
    ]


def test_a_long_row_is_cut_in_proportion_dropped_split_or_refused():
    chat = TokenizedChat([([1] * 30, [2] * 10), ([3] * 10, [4] * 30)])
    cut = assemble(chat, LengthRules(50))
    # Turn 1 fits whole (40); turn 2 shares the 10 that are left: int(10 * 30 / 40) = 7 for the answer, 3 for the prompt.
    assert cut[0].columns["input_ids"] == [1] * 30 + [2] * 10 + [3] * 3 + [4] * 7
    assert cut[0].columns["labels"] == [-100] * 30 + [2] * 10 + [-100] * 3 + [4] * 7
    assert cut[0].cut_tokens == 30
    assert isinstance(assemble(chat, LengthRules(50, "drop")), Dropped)
    assert isinstance(assemble(chat, LengthRules(50, "error")), RowError)
    split = assemble(chat, LengthRules(50, "split"))
    assert [row.columns["input_ids"] for row in split] == [[1] * 30 + [2] * 10, [3] * 10 + [4] * 30]
    masked = assemble(chat, LengthRules(50, mask_history=True))
    assert masked[0].columns["labels"][-30:] == [4] * 30
    assert set(masked[0].columns["labels"][:-30]) == {-100}


@pytest.mark.parametrize(
    ("source", "target", "room", "expected"),
    [(100, 10, 50, (40, 10)), (10, 100, 50, (10, 40)), (100, 100, 50, (25, 25))],
)
def test_room_is_shared_between_prompt_and_answer(source, target, room, expected):
    assert share(source, target, room) == expected


def test_a_row_with_nothing_to_train_on_is_dropped_and_counted():
    assert isinstance(assemble(TokenizedChat([([1] * 5, [2])], [False]), LengthRules(10)), Dropped)


def test_packing_fills_packs_and_loses_nothing():
    lengths = [7, 3, 5, 5, 2, 8, 10, 1]
    packs = first_fit_decreasing(lengths, 10)
    assert sorted(i for pack in packs for i in pack) == list(range(8))
    assert all(sum(lengths[i] for i in pack) <= 10 for pack in packs)
    assert len(packs) == 5


def test_the_tutorials_two_csv_files_become_a_registered_set(plugtune, tmp_path):
    write(tmp_path / "questions.csv", "question_id,content\n1,头疼怎么办？\n2,发烧？\n3,没人回答\n")
    write(tmp_path / "answers.csv", "ans_id,question_id,content\n10,1,多休息。\n11,1,喝水。\n12,2,看医生。\n13,2,\n")
    done = plugtune(
        "data", "convert", "--input", tmp_path / "questions.csv", "--join", tmp_path / "answers.csv", "--on", "question_id",
        "--user", "questions.content", "--assistant", "answers.content", "--limit", 20000,
        "--output", tmp_path / "data" / "medical_treatment.json", "--register", "medical_treatment", "--json",
    )  # fmt: skip
    assert json.loads(done.stdout)["rows"] == 3, done.stderr
    text = (tmp_path / "data" / "medical_treatment.json").read_text(encoding="utf-8")
    assert "头疼怎么办？" in text
    checked = plugtune("data", "check", "medical_treatment", "--dataset_dir", tmp_path / "data", "--json")
    assert json.loads(checked.stdout)["good"] == 3
    assert checked.returncode == 0


def test_a_file_is_recognised_and_registered_with_one_command(plugtune, tmp_path):
    write(
        tmp_path / "mine.jsonl",
        json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
    )
    done = plugtune("data", "add", tmp_path / "mine.jsonl", "--json")
    assert json.loads(done.stdout)["entry"]["formatting"] == "openai"
    page = json.loads(plugtune("data", "preview", "mine", "--dataset_dir", tmp_path, "--json").stdout)
    assert page["rows"][0]["record"]["messages"][1]["content"] == "b"


def test_a_hub_that_is_not_installed_names_the_plugin_and_one_that_is_fetches(host, tmp_path, monkeypatch):
    import plugtune_format_standard
    import plugtune_hub_huggingface
    from plugtune.data.pipeline import raw_rows
    from plugtune.plugins.host import PluginHost
    from plugtune.plugins.policy import Policy

    write(tmp_path / "dataset_info.json", {"x": {"hf_hub_url": "team/rows", "ms_hub_url": "team/mirror"}})
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    others = [("format-standard", plugtune_format_standard), ("hub-huggingface", plugtune_hub_huggingface)]
    without = PluginHost(plugins=others, policy=Policy()).load()
    with pytest.raises(Exception, match="pip install plugtune-hub-modelscope"):
        Registry.open(without.catalog, str(tmp_path)).resolve("x")
    monkeypatch.delenv("USE_MODELSCOPE_HUB")
    spec = Registry.open(host.catalog, str(tmp_path)).resolve("x")
    with pytest.raises(Exception, match="'team/rows' cannot be fetched from the Hugging Face hub"):
        next(raw_rows(spec))
