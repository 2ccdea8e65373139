"""The engine gives what `model.generate` gives, whatever else is computed beside it."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import pairwise

import pytest
import torch
from plugtune.data.records import Conversation, Message
from plugtune.inference.batch import Batch, Limits, Row, complete
from plugtune.inference.draw import draw_one
from plugtune.inference.engine import Engine
from plugtune.inference.pieces import Text
from plugtune.inference.rollout import rollout
from plugtune.inference.sampling import Sampling
from plugtune.inference.scheduler import Closed, QueueFull, Scheduler
from plugtune.options.groups import GenerationOptions
from plugtune.templating.choose import bind
from transformers import AutoModelForCausalLM

PROMPTS = [[5, 9, 20, 31], [40, 41], [7] * 19, [100, 3, 250, 9, 12, 33, 90], [60]]


@pytest.fixture(scope="module")
def model(lively_dir):
    return AutoModelForCausalLM.from_pretrained(lively_dir, dtype=torch.float32).eval()


@pytest.fixture
def engine(model, tokenizer, host):
    return Engine(model, tokenizer, bind("auto", host.catalog, tokenizer))


def alone(model, prompt, count, **settings):
    ids = torch.tensor([prompt])
    settings = {"do_sample": False, "eos_token_id": None, **settings}
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, pad_token_id=1, **settings)
    return out[0, len(prompt) :].tolist()


def greedy(prompt, count=12):
    return Row(prompt, Sampling(max_new_tokens=count))


def test_greedy_rows_of_a_batch_equal_generate_on_each_alone(model):
    rows = complete(Batch(model, 1), [greedy(p) for p in PROMPTS])
    assert [row.ids for row in rows] == [alone(model, p, 12) for p in PROMPTS]
    assert {row.finish for row in rows} == {"length"}
    assert all(len(set(row.ids)) > 4 for row in rows), "a model that repeats one token would prove little"


def test_rows_that_join_and_leave_at_any_step_change_nothing_for_the_others(model):
    batch = Batch(model, 1, Limits(rows=3))
    rows = [greedy(p, 4 + 5 * n) for n, p in enumerate(PROMPTS)]
    for row in rows:
        batch.add([row])
        batch.step()
        batch.step()
    most = 0
    while batch.busy:
        batch.step()
        most = max(most, batch.running)
    assert most <= 3
    assert [row.ids for row in rows] == [alone(model, p, 4 + 5 * n) for n, p in enumerate(PROMPTS)]


@pytest.mark.parametrize("kind", ["qwen2", "mistral-window", "gpt2", "mamba"])
def test_other_architectures_equal_generate(kind):
    import transformers as t

    small = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    config = {
        "qwen2": lambda: t.Qwen2Config(**small, **heads),
        "mistral-window": lambda: t.MistralConfig(**small, **heads, sliding_window=8),
        "gpt2": lambda: t.GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4),
        "mamba": lambda: t.MambaConfig(**small, state_size=4),
    }[kind]()
    torch.manual_seed(1)
    config.tie_word_embeddings, config.initializer_range = False, 0.3
    model = AutoModelForCausalLM.from_config(config).eval()
    prompts = [[p % 90 for p in prompt] for prompt in PROMPTS[:3]]
    rows = complete(Batch(model, 1), [greedy(p, 16) for p in prompts])
    assert [row.ids for row in rows] == [alone(model, p, 16, bos_token_id=None) for p in prompts]


def test_stop_tokens_end_a_row_and_are_not_part_of_it(model):
    free = alone(model, PROMPTS[0], 12)
    stop = free[5]
    row = Row(PROMPTS[0], Sampling(max_new_tokens=12), frozenset({stop}))
    complete(Batch(model, 1), [row])
    assert row.ids == free[: free.index(stop)]
    assert row.finish == "stop"


def test_a_seeded_answer_is_the_same_alone_and_in_a_crowd(model):
    settings = {"max_new_tokens": 10, "temperature": 1.3, "top_p": 0.9, "top_k": 40}
    asked = lambda: [Row(p, Sampling(**settings, seed=n)) for n, p in enumerate(PROMPTS)]  # noqa: E731
    together = [row.ids for row in complete(Batch(model, 1), asked())]
    apart = [complete(Batch(model, 1), [row])[0].ids for row in asked()]
    assert together == apart
    assert len({tuple(ids) for ids in together}) == len(PROMPTS)


def test_the_distribution_is_that_of_transformers_warpers():
    import random

    from transformers import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    torch.manual_seed(0)
    logits, history = torch.randn(30) * 2, [3, 4, 4, 9]
    wanted = RepetitionPenaltyLogitsProcessor(1.4)(torch.tensor([history]), logits.clone()[None])
    for warp in (TemperatureLogitsWarper(0.7), TopKLogitsWarper(12), TopPLogitsWarper(0.85)):
        wanted = warp(None, wanted)
    wanted = wanted.softmax(-1)[0]
    sampling = Sampling(temperature=0.7, top_k=12, top_p=0.85, repetition_penalty=1.4)
    rng, drawn = random.Random(0), Counter()
    for _ in range(4000):
        drawn[draw_one(logits, sampling, history[:2], history[2:], rng)] += 1
    assert set(drawn) <= {i for i, p in enumerate(wanted.tolist()) if p > 0}
    assert all(abs(drawn[i] / 4000 - p) < 0.03 for i, p in enumerate(wanted.tolist()))


def test_log_probabilities_are_those_of_one_forward_pass(model):
    row = Row(PROMPTS[2], Sampling(max_new_tokens=8, temperature=1.0, seed=3, logprobs=4))
    complete(Batch(model, 1), [row, greedy(PROMPTS[3])])
    with torch.no_grad():
        logits = model(torch.tensor([row.prompt + row.ids])).logits[0]
    logs = logits.log_softmax(-1)[len(row.prompt) - 1 : -1]
    assert row.logprobs == pytest.approx([float(logs[i, t]) for i, t in enumerate(row.ids)], abs=1e-4)
    assert [[t for t, _ in top] for top in row.top] == logs.topk(4).indices.tolist()


def test_rollouts_are_batched_repeatable_and_can_keep_the_stop_token(model):
    stop = alone(model, PROMPTS[0], 12)[5]
    model.train()
    kept = rollout(model, PROMPTS, Sampling(max_new_tokens=12), stop_ids=[stop], pad_id=1, keep_stop=True)
    assert model.training
    model.eval()
    assert kept[0].ids[-1] == stop
    assert len(kept[0].logprobs) == len(kept[0].ids)
    again = [
        rollout(model, PROMPTS, Sampling(max_new_tokens=6, temperature=1.0, seed=9), stop_ids=[], pad_id=1)
        for _ in range(2)
    ]
    assert again[0] == again[1]


def test_pieces_hold_whole_characters_and_join_to_the_whole_text(tokenizer):
    text = "Zwölf 你好 😀 👩‍👩‍👧 done"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) > len(text.split())
    writer = Text(tokenizer)
    pieces = [writer.feed(ids[: n + 1], last=n == len(ids) - 1) for n in range(len(ids))]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    ("stop", "left"), [("lo wo", "hel"), ("d", "hello worl"), ("xyz", "hello world"), ("ld!", "hello world")]
)
def test_a_stop_text_is_found_across_tokens_and_never_shown(tokenizer, stop, left):
    ids = [token for letter in "hello world" for token in tokenizer.encode(letter, add_special_tokens=False)]
    writer = Text(tokenizer, (stop,))
    shown = ""
    for n in range(len(ids)):
        shown += writer.feed(ids[: n + 1], last=n == len(ids) - 1)
        assert left.startswith(shown)
    assert shown == left


def test_answers_and_streams_are_the_same_text(engine):
    talks = [Conversation((Message("user", text),)) for text in ("Hello there", "你好")]
    options = GenerationOptions(do_sample=False, max_new_tokens=20)
    assert engine.answer(talks, options) == ["".join(engine.stream(talk, options)) for talk in talks]


@pytest.mark.parametrize("penalty", [1.0, -2.0])
def test_beam_search_equals_generate_on_each_prompt_alone(engine, model, tokenizer, monkeypatch, penalty):
    monkeypatch.setattr("plugtune.inference.engine.BEAM_ROWS", 2)  # prompts of one batch have other lengths
    options = GenerationOptions(do_sample=False, max_new_tokens=9, num_beams=3, length_penalty=penalty)
    settings = {"num_beams": 3, "length_penalty": penalty, "eos_token_id": tokenizer.eos_token_id}
    found = [alone(model, prompt, 9, **settings) for prompt in PROMPTS]
    assert found != [alone(model, prompt, 9, eos_token_id=tokenizer.eos_token_id) for prompt in PROMPTS]
    assert engine.complete(PROMPTS, options) == [tokenizer.decode(ids, skip_special_tokens=True) for ids in found]
    talk = Conversation((Message("user", "Hello there"),))
    assert "".join(engine.stream(talk, options)) == engine.answer([talk], options)[0]
    bare = Engine(model, tokenizer, None)
    assert bare.complete(PROMPTS, options) == engine.complete(PROMPTS, options)


def test_beams_that_are_sampled_are_the_same_for_the_same_seed(engine):
    options = GenerationOptions(do_sample=True, temperature=1.5, max_new_tokens=9, num_beams=2)
    first = engine.complete(PROMPTS, options, seed=3)
    assert engine.complete(PROMPTS, options, seed=3) == first
    assert engine.complete(PROMPTS, options, seed=4) != first


def test_beams_answer_as_the_adapter_that_was_asked(lively_dir, tokenizer, host):
    from peft import LoraConfig, get_peft_model

    def fresh():
        return AutoModelForCausalLM.from_pretrained(lively_dir, dtype=torch.float32).eval()

    torch.manual_seed(0)
    lora = LoraConfig(r=8, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(fresh(), lora, adapter_name="law")
    engine = Engine(model, tokenizer, bind("auto", host.catalog, tokenizer), adapters=("law",), main="-")
    talk = Conversation((Message("user", "Hello there"),))
    prompt = engine.template.encode_prompt(talk)
    options = GenerationOptions(do_sample=False, max_new_tokens=9, num_beams=3)
    said = {name: "".join(engine.stream(talk, options, adapter=name)) for name in ("law", "", "law")}
    settings = {"num_beams": 3, "eos_token_id": tokenizer.eos_token_id}
    plain = tokenizer.decode(alone(fresh(), prompt, 9, **settings), skip_special_tokens=True)
    merged = tokenizer.decode(alone(model.merge_and_unload(), prompt, 9, **settings), skip_special_tokens=True)
    assert plain != merged
    assert said == {"": plain, "law": merged}


def test_a_scheduler_answers_a_crowd_as_each_alone_and_in_order(engine, model):
    scheduler = Scheduler(engine, limits=Limits(rows=7))
    prompts = [[(n * 37 + k) % 500 + 4 for k in range(1 + n % 9)] for n in range(40)]
    jobs = [engine.job(p, Sampling(max_new_tokens=3 + n % 8, ignore_eos=True)) for n, p in enumerate(prompts)]
    pieces: dict[int, list] = {n: [] for n in range(40)}
    left = threading.Semaphore(0)

    def listen(number):
        def take(piece):
            pieces[number].append(piece)
            if piece.finish:
                left.release()

        return take

    for number, job in enumerate(jobs):
        scheduler.submit([job], lambda _, number=number: listen(number))
    assert all(left.acquire(timeout=60) for _ in jobs)
    scheduler.close()
    assert [job.row.ids for job in jobs] == [alone(model, p, 3 + n % 8) for n, p in enumerate(prompts)]
    for number, job in enumerate(jobs):
        assert "".join(piece.text for piece in pieces[number]) == job.text
        assert all(a.end == b.start for a, b in pairwise(pieces[number]))
    with pytest.raises(Closed):
        scheduler.submit(jobs[:1], lambda job: print)


def test_a_full_queue_refuses_and_a_cancelled_job_makes_room(engine):
    scheduler = Scheduler(engine, limits=Limits(rows=1), max_waiting=1)
    started = threading.Event()
    long = [engine.job([5, 6], Sampling(max_new_tokens=400, ignore_eos=True)) for _ in range(3)]
    scheduler.submit([long[0]], lambda job: lambda piece: started.set())
    assert started.wait(30)
    scheduler.submit([long[1]], lambda job: lambda piece: None)
    with pytest.raises(QueueFull):
        scheduler.submit([long[2]], lambda job: lambda piece: None)
    scheduler.cancel(long[:2])
    finished = threading.Event()
    scheduler.submit([engine.job([5], Sampling(max_new_tokens=2))], lambda job: lambda p: p.finish and finished.set())
    assert finished.wait(30)
    assert len(long[0].row.ids) < 400
    assert scheduler.load().waiting == 0
    scheduler.close()


def test_a_failure_reaches_everyone_who_waits_and_the_next_are_answered(engine, monkeypatch):
    scheduler = Scheduler(engine)
    heard, good = threading.Event(), threading.Event()
    seen: list[object] = []

    def fail(*args, **kwargs):
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("plugtune.inference.lane.Lane.begin", fail)
        scheduler.submit([engine.job([5], Sampling())], lambda job: lambda p: (seen.append(p), heard.set()))
        assert heard.wait(30)
    assert isinstance(seen[0], MemoryError)
    scheduler.submit([engine.job([5], Sampling(max_new_tokens=1))], lambda job: lambda p: good.set())
    assert good.wait(30)
    scheduler.close()
