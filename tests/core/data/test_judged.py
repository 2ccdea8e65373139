"""Preferences and feedback become the tokens that supervised fine-tuning would train on, within the same bounds."""

from __future__ import annotations

import json

import pytest
from plugtune.data.encoding import Dropped, EncoderContext
from plugtune.data.feedback_encoder import FeedbackEncoder
from plugtune.data.pipeline import prepare
from plugtune.data.preference_encoder import PreferenceEncoder
from plugtune.data.records import Conversation, Feedback, Message, Preference, RowError
from plugtune.options.groups import DataOptions
from plugtune.templating.choose import bind

PROMPT = Conversation((Message("user", "Hello?"), Message("assistant", "Hi."), Message("user", "Two and two?")))
PAIR = Preference(PROMPT, Message("assistant", "Four, of course."), Message("assistant", "Five."))


def encoder(kind, host, tokenizer, template="chatml", **data):
    options = DataOptions(**data)
    return kind(EncoderContext(tokenizer, bind(template, host.catalog, tokenizer), options))


def chatml(*answers: str) -> str:
    """The conversation as the tokenizer's own template writes it, to compare with."""
    return [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": "Two and two?"}, *({"role": "assistant", "content": a} for a in answers)]  # fmt: skip


@pytest.mark.parametrize("template", ["chatml", "auto"])
def test_prompt_and_answers_are_what_the_chat_template_writes(host, tokenizer, template):
    row = encoder(PreferenceEncoder, host, tokenizer, template).encode([PAIR])[0][0].columns
    prompt = tokenizer.apply_chat_template(chatml(), add_generation_prompt=True, tokenize=False)
    assert tokenizer.decode(row["prompt_ids"]) == prompt
    for answer, name in (("Four, of course.", "chosen_ids"), ("Five.", "rejected_ids")):
        written = tokenizer.apply_chat_template(chatml(answer), tokenize=False).rstrip("\n")
        assert tokenizer.decode(row["prompt_ids"] + row[name]).rstrip("\n") == written


def test_feedback_is_the_chosen_side_with_its_judgement(host, tokenizer):
    pair = encoder(PreferenceEncoder, host, tokenizer).encode([PAIR])[0][0].columns
    good = Feedback(Conversation((*PROMPT.messages, PAIR.chosen)), True)
    bad = Feedback(Conversation((*PROMPT.messages, PAIR.rejected)), False)
    (one,), (two,) = encoder(FeedbackEncoder, host, tokenizer).encode([good, bad])
    assert one.columns == {"prompt_ids": pair["prompt_ids"], "answer_ids": pair["chosen_ids"], "desirable": [1]}
    assert two.columns == {"prompt_ids": pair["prompt_ids"], "answer_ids": pair["rejected_ids"], "desirable": [0]}


def test_the_cut_shares_the_room_with_the_longest_answer(host, tokenizer):
    whole = encoder(PreferenceEncoder, host, tokenizer).encode([PAIR])[0][0]
    p, c, r = (len(ids) for ids in whole.columns.values())
    room = (p + c) // 2
    cut = encoder(PreferenceEncoder, host, tokenizer, cutoff_len=room).encode([PAIR])[0][0]
    # LLaMA-Factory's infer_seqlen: in proportion, unless the answers or the prompt take less than half of the room.
    most = room if c * 2 < room else room - p if p * 2 < room else int(room * c / (p + c))
    answer = min(most, c)
    assert [len(ids) for ids in cut.columns.values()] == [min(room - answer, p), answer, min(answer, r)]
    assert cut.cut_tokens == (p + c + r) - sum(len(ids) for ids in cut.columns.values())
    assert isinstance(encoder(PreferenceEncoder, host, tokenizer, cutoff_len=room, long_rows="drop").encode([PAIR])[0],
                      Dropped)  # fmt: skip
    refused = encoder(PreferenceEncoder, host, tokenizer, cutoff_len=room, long_rows="error").encode([PAIR])[0]
    assert isinstance(refused, RowError)
    assert str(p + c) in str(refused)


def test_the_report_counts_all_tokens_and_the_answers_as_trained(host, tokenizer, tmp_path):
    rows = [{"instruction": "Two and two?", "chosen": "Four, of course.", "rejected": "Five."}]
    (tmp_path / "pairs.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"pairs": {"file_name": "pairs.json", "ranking": True}}))
    options = DataOptions(dataset=["pairs"], dataset_dir=str(tmp_path), packing=True)
    done = prepare(
        options, host.catalog, row_kind="preference", seed=1,
        encoder_for=lambda training: encoder(PreferenceEncoder, host, tokenizer),
    )  # fmt: skip
    row, entry = done.train[0], done.report.sets[0]
    assert entry["tokens"] == sum(len(ids) for ids in row.values())
    assert entry["trained_tokens"] == len(row["chosen_ids"]) + len(row["rejected_ids"])
