"""The server through the official client, over real connections, against the engine's own answers."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from plugtune.data.records import Conversation, Message
from plugtune.inference.batch import Limits
from plugtune.inference.engine import Engine
from plugtune.inference.scheduler import Scheduler
from plugtune.options.groups import GenerationOptions
from plugtune.templating.choose import bind
from transformers import AutoModelForCausalLM

openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")

from plugtune_app_serve.app import make_app  # noqa: E402
from plugtune_app_serve.options import ServeOptions  # noqa: E402
from plugtune_app_serve.state import Served  # noqa: E402

KEY = "a-key-for-tests"
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks up.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}


def serving(engine, **options):
    """A running server on a free port: (base address, what is served, stop)."""
    options = ServeOptions(**options)
    limits = Limits(rows=options.max_concurrent, tokens=options.max_batch_tokens)
    scheduler = Scheduler(engine, limits=limits, max_waiting=options.max_queue)
    served = Served(engine, scheduler, options, GenerationOptions(max_new_tokens=16, do_sample=False), "tiny")
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(served), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: server.run(sockets=[sock]), daemon=True)
    thread.start()

    def stop():
        server.should_exit = True
        thread.join(20)

    return f"http://127.0.0.1:{sock.getsockname()[1]}", served, stop


@pytest.fixture(scope="module")
def engine(lively_dir, tokenizer, host):
    model = AutoModelForCausalLM.from_pretrained(lively_dir, dtype=torch.float32).eval()
    return Engine(model, tokenizer, bind("qwen", host.catalog, tokenizer))


@pytest.fixture(scope="module")
def server(engine):
    base, served, stop = serving(engine, api_key=KEY, max_n=4, max_answer_tokens=400, max_body_bytes=20000)
    yield base, served
    stop()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server[0]}/v1", api_key=KEY, max_retries=0)


def own(engine, text, count=16):
    talk = Conversation((Message("user", text),))
    return engine.answer([talk], GenerationOptions(do_sample=False, max_new_tokens=count))[0]


def ask(client, text, **settings):
    settings = {"model": "tiny", "temperature": 0, "max_tokens": 16, **settings}
    return client.chat.completions.create(messages=[{"role": "user", "content": text}], **settings)


def test_a_chat_answer_is_the_engines_and_its_tokens_are_counted(client, engine):
    answer = ask(client, "Hello you")
    assert answer.choices[0].message.content == own(engine, "Hello you")
    prompt = engine.template.encode_prompt(Conversation((Message("user", "Hello you"),)))
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.completion_tokens == 16
    assert answer.choices[0].finish_reason == "length"
    assert answer.object == "chat.completion"


def test_a_stream_gives_the_same_text_then_usage(client, engine):
    chunks = list(ask(client, "你好 friend", stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == own(engine, "你好 friend")
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 16
    assert not any(c.usage for c in chunks[:-1])


def test_sixty_four_clients_each_get_their_own_answer(server, engine):
    base, served = server
    texts = [f"canary-{n:03d} tell me about number {n * 7919 % 1000}" for n in range(64)]
    wanted = engine.answer(
        [Conversation((Message("user", t),)) for t in texts], GenerationOptions(do_sample=False, max_new_tokens=16)
    )
    assert len(set(wanted)) > 56, "answers must differ for a mix-up to show"
    gate = threading.Barrier(64)
    most = []

    def one(number):
        client = openai.OpenAI(base_url=f"{base}/v1", api_key=KEY, max_retries=0)
        gate.wait()
        if number % 2:
            text = "".join(
                c.choices[0].delta.content or "" for c in ask(client, texts[number], stream=True) if c.choices
            )
        else:
            text = ask(client, texts[number]).choices[0].message.content
        most.append(served.scheduler.load().running)
        return text

    with ThreadPoolExecutor(64) as pool:
        got = list(pool.map(one, range(64)))
    assert got == wanted
    assert max(most) > 1, "requests were computed together"
    assert served.scheduler.load().waiting == 0


def test_n_answers_with_a_seed_are_repeatable_and_differ(client):
    settings = {"n": 3, "seed": 11, "temperature": 1.5, "top_p": 1.0, "extra_body": {"top_k": 0}}
    one, two = ([c.message.content for c in ask(client, "Go", **settings).choices] for _ in range(2))
    assert one == two
    assert len(set(one)) == 3
    streamed = ["", "", ""]
    for chunk in ask(client, "Go", stream=True, **settings):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == one


def test_stop_texts_end_an_answer(client, engine):
    whole = own(engine, "Hello you")
    word = whole[5:9]
    answer = ask(client, "Hello you", stop=[word, "never"])
    assert answer.choices[0].message.content == whole[: whole.index(word)]
    assert answer.choices[0].finish_reason == "stop"


def test_log_probabilities_of_chat_and_plain_completions(client, engine):
    answer = ask(client, "Hello you", max_tokens=5, logprobs=True, top_logprobs=3)
    entries = answer.choices[0].logprobs.content
    assert len(entries) == 5
    prompt = engine.template.encode_prompt(Conversation((Message("user", "Hello you"),)))
    with torch.no_grad():
        logs = engine.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    assert entries[0].logprob == pytest.approx(float(logs.max()), abs=1e-3)
    assert len(entries[0].top_logprobs) == 3
    plain = client.completions.create(
        model="tiny", prompt=["Once upon", "a time"], temperature=0, max_tokens=4, logprobs=2, echo=True
    )
    assert [c.text[:5] for c in plain.choices] == ["Once ", "a tim"]
    assert len(plain.choices[0].logprobs.tokens) == 4
    assert plain.choices[0].logprobs.text_offset[0] == len("Once upon")
    assert plain.usage.completion_tokens == 8


def test_plain_completions_stream_and_take_token_ids(client, engine):
    ids = engine.tokenizer("Once upon")["input_ids"]
    whole = client.completions.create(model="tiny", prompt="Once upon", temperature=0, max_tokens=9).choices[0].text
    parts = client.completions.create(model="tiny", prompt=ids, temperature=0, max_tokens=9, stream=True)
    assert "".join(c.choices[0].text for c in parts) == whole


def test_models_are_listed(client):
    assert [m.id for m in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "plugtune"


def post(server, body, path="/v1/chat/completions", key=KEY):
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return httpx.post(
        f"{server[0]}{path}", content=content, headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )


HI = [{"role": "user", "content": "hi"}]
WRONG = [
    ({"messages": HI, "model": "gpt-4"}, 404, "model", "does not exist"),
    ({"messages": []}, 400, "messages", "at least 1"),
    ({"messages": "hi"}, 400, "messages", "list"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages", "unknown role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages[0].content", "reads text"),
    ({"messages": HI, "temperature": "hot"}, 400, "temperature", "number"),
    ({"messages": HI, "temperature": 3}, 400, "temperature", "less than or equal to 2"),
    ({"messages": HI, "max_tokens": 0}, 400, "max_tokens", "greater than or equal to 1"),
    ({"messages": HI, "max_tokens": 401}, 400, "max_tokens", "at most 400"),
    ({"messages": HI, "n": 5}, 400, "n", "at most 4"),
    ({"messages": HI, "stop": [""]}, 400, "stop", "none of them empty"),
    ({"messages": HI, "tool_choice": "required"}, 400, "tool_choice", "tools offers none"),
    ({"messages": HI, "tools": [TOOL], "tool_choice": "always"}, 400, "tool_choice", "'required'"),
    ({"messages": HI, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, 400, "tool_choice", "not among the tools"),
    ({"messages": HI, "response_format": {"type": "xml"}}, 400, "response_format", "json_schema"),
    ({"messages": HI, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "odd"}}}}, 400, "response_format", "Invalid type: odd"),
    ({"messages": [*HI, {"role": "assistant", "content": "done"}]}, 400, "messages", "nothing to answer"),
    ({"messages": [{"role": "user", "content": "word " * 1200}]}, 400, "messages", "context is 1024 tokens"),
    ({"messages": HI, "max_tokens": 400, "logit_bias": {"x": 1}}, 400, "logit_bias", "token ids"),
    ("{not json", 400, None, "not valid JSON"),
    ("[1]", 400, None, "JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "param", "words"), WRONG)
def test_a_wrong_request_gets_the_openai_error_shape(server, body, status, param, words):
    answer = post(server, body)
    error = answer.json()["error"]
    assert answer.status_code == status, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert words in error["message"]


def test_too_large_a_body_is_refused_announced_or_not(server):
    assert post(server, "x" * 20001).status_code == 413
    parts = (b"x" * 1000 for _ in range(30))
    answer = httpx.post(
        f"{server[0]}/v1/completions", content=parts, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_the_key_is_needed_everywhere_but_for_health(server):
    assert post(server, {"messages": HI}, key="wrong").json()["error"]["code"] == "invalid_api_key"
    for path in ("/v1/models", "/metrics", "/v1/nothing"):
        assert httpx.get(server[0] + path, trust_env=False).status_code == 401
    assert httpx.get(f"{server[0]}/health", trust_env=False).json()["status"] == "ok"
    with pytest.raises(openai.AuthenticationError):
        ask(openai.OpenAI(base_url=f"{server[0]}/v1", api_key="no", max_retries=0), "hi")


def test_other_pages_get_no_cors_headers_and_no_schema_pages_exist(server):
    answer = httpx.get(f"{server[0]}/health", headers={"Origin": "http://evil.example"}, trust_env=False)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    authorized = {"Authorization": f"Bearer {KEY}"}
    assert (
        httpx.get(f"{server[0]}/docs", headers=authorized, trust_env=False)
        .json()["error"]["message"]
        .startswith("GET /docs")
    )


def test_metrics_count_requests_and_tokens(server, client):
    ask(client, "count me")
    text = httpx.get(f"{server[0]}/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False).text
    assert 'plugtune_requests_total{path="/v1/chat/completions",status="200"}' in text
    assert "plugtune_generation_tokens_total" in text
    assert "plugtune_running 0.0" in text


def test_a_client_that_goes_away_frees_its_place(server, client):
    _, served = server
    stream = ask(client, "for ever", stream=True, max_tokens=400, extra_body={"ignore_eos": True})
    next(stream)
    stream.response.close()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server[0]}/v1/chat/completions", json={"messages": HI, "max_tokens": 400, "ignore_eos": True},
            headers={"Authorization": f"Bearer {KEY}"}, timeout=0.3, trust_env=False,
        )  # fmt: skip
    until = time.monotonic() + 20
    while served.scheduler.load().running and time.monotonic() < until:
        time.sleep(0.02)
    assert served.scheduler.load().running == 0
    assert served.metrics.cancelled._value.get() >= 1


def test_a_full_queue_answers_429_with_a_hint(engine):
    base, _, stop = serving(engine, max_concurrent=1, max_queue=1)
    try:
        client = openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
        streams = [ask(client, "long", stream=True, max_tokens=400, extra_body={"ignore_eos": True}) for _ in range(2)]
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client, "one too many")
        assert refused.value.response.headers["retry-after"] == "1"
        assert refused.value.body["code"] == "queue_full"
        with pytest.raises(openai.RateLimitError):
            ask(client, "one too many", stream=True)
        for stream in streams:
            stream.response.close()
    finally:
        stop()


class Scripted:
    """A model that says fixed tokens: what it says is given, how the server reads it is not."""

    def __init__(self, model, tokenizer, text):
        self.model, self.config, self.device = model, model.config, model.device
        self.ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        self.given = 0

    def eval(self):
        return self

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()

    def forward(self, input_ids, attention_mask=None, cache=None, use_cache=None):
        raise NotImplementedError

    def __call__(self, input_ids, **kwargs):
        from types import SimpleNamespace

        self.given = 0 if input_ids.shape[1] > 1 else self.given + 1
        logits = torch.zeros(1, 1, len(self.model.get_input_embeddings().weight))
        logits[0, 0, self.ids[self.given]] = 9
        return SimpleNamespace(logits=logits)


CALL = '<tool_call>\n{"name": "look_up", "arguments": {"q": "Zürich"}}\n</tool_call>'


@pytest.mark.parametrize("template", ["qwen", "qwen3"])
def test_tool_calls_and_thoughts_are_read_from_the_answer(engine, host, tokenizer, template):
    thought = "<think>\nWhere is it?\n</think>\n\n" if template == "qwen3" else ""
    speaker = Engine(
        Scripted(engine.model, tokenizer, f"{thought}I look.\n{CALL}"),
        tokenizer,
        bind(template, host.catalog, tokenizer),
    )
    base, _, stop = serving(speaker)
    try:
        client = openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
        settings = {"tools": [TOOL], "max_tokens": 200}
        answer = ask(client, "Where?", **settings).choices[0]
        assert answer.finish_reason == "tool_calls"
        assert answer.message.content == "I look."
        call = answer.message.tool_calls[0]
        assert (call.function.name, json.loads(call.function.arguments)) == ("look_up", {"q": "Zürich"})
        assert getattr(answer.message, "reasoning_content", None) == ("Where is it?" if thought else None)
        deltas = [c.choices[0].delta for c in ask(client, "Where?", stream=True, **settings)]
        assert "".join(d.content or "" for d in deltas) == "I look."
        assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == answer.message.model_extra.get(
            "reasoning_content", ""
        )
        streamed = [call for d in deltas for call in d.tool_calls or []]
        assert [(c.index, c.function.name) for c in streamed] == [(0, "look_up")]
        untold = ask(client, "Where?", tools=[TOOL], tool_choice="none", max_tokens=200).choices[0]
        assert untold.message.tool_calls is None
        assert "<tool_call>" in untold.message.content
    finally:
        stop()


def bounded(name, **properties):
    """A tool whose arguments are short, so that a model that babbles comes to their end."""
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    bounded("paint", color={"enum": ["red", "green", "blue"]}, times={"type": "integer", "minimum": 1, "maximum": 99}),
    bounded("sleep", hours={"enum": [1, 2, 3]}),
]


def check_arguments(name, text):
    """What the schemas of `TOOLS` demand, in words of its own."""
    given = json.loads(text)
    if name == "paint":
        assert set(given) == {"color", "times"}
        assert given["color"] in ("red", "green", "blue")
        assert type(given["times"]) is int
        assert 1 <= given["times"] <= 99
    else:
        assert name == "sleep"
        assert given in ({"hours": 1}, {"hours": 2}, {"hours": 3})


@pytest.mark.parametrize("style", ["tool_call_tags", "llama3", "mistral", "glm4", "react"])
def test_a_forced_call_comes_whatever_the_model_would_say(engine, host, tokenizer, style):
    """The model is random: nothing but the server makes its answer a call."""
    speaker = Engine(engine.model, tokenizer, bind("qwen", host.catalog, tokenizer, tool_format=style))
    base, _, stop = serving(speaker)
    try:
        client = openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
        for number, choice in enumerate(("paint", "sleep", "required")):
            wanted = choice if choice == "required" else {"type": "function", "function": {"name": choice}}
            settings = {"tools": TOOLS, "tool_choice": wanted, "max_tokens": 150, "temperature": 1, "seed": number}
            answer = ask(client, "Do something", **settings).choices[0]
            assert answer.finish_reason == "tool_calls"
            assert not answer.message.content
            assert [call.function.name for call in answer.message.tool_calls] == (
                [choice] if choice != "required" else [answer.message.tool_calls[0].function.name]
            )
            call = answer.message.tool_calls[0].function
            check_arguments(call.name, call.arguments)
            deltas = [c.choices[0].delta for c in ask(client, "Do something", stream=True, **settings)]
            streamed = [call for delta in deltas for call in delta.tool_calls or []]
            assert [(c.function.name, c.function.arguments) for c in streamed] == [
                (c.function.name, c.function.arguments) for c in answer.message.tool_calls
            ]
    finally:
        stop()


def test_required_lets_the_model_choose_among_the_tools(client):
    found = set()
    for seed in range(12):
        answer = ask(
            client, "Do something", tools=TOOLS, tool_choice="required", max_tokens=200, temperature=2, seed=seed
        )
        found.add(answer.choices[0].message.tool_calls[0].function.name)
    assert found == {"paint", "sleep"}


def test_answers_are_json_of_a_schema_beside_answers_that_are_free(client, engine):
    schema = TOOLS[0]["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "paint", "schema": schema}}
    with ThreadPoolExecutor(8) as pool:
        held = [pool.submit(ask, client, f"Paint {n}", response_format=wanted, max_tokens=100, n=2) for n in range(4)]
        free = [pool.submit(ask, client, f"Hello {n}") for n in range(4)]
    for answer in held:
        for choice in answer.result().choices:
            check_arguments("paint", choice.message.content)
    assert [f.result().choices[0].message.content for f in free] == [own(engine, f"Hello {n}") for n in range(4)]


def test_a_reward_model_scores_texts_and_does_not_chat(lively_dir, tmp_path, host):
    import shutil

    from plugtune.inference.export import TemplateChoice
    from plugtune.modeling.value_head import ValueHead, save_head
    from plugtune.options.groups import ModelOptions
    from plugtune_app_serve.command import load

    shutil.copytree(lively_dir, tmp_path / "reward")
    torch.manual_seed(5)
    head = ValueHead(32)
    save_head(head, tmp_path / "reward")
    model = ModelOptions(model_name_or_path=str(tmp_path / "reward"))
    served = load(model, ServeOptions(stage="rm"), GenerationOptions(), TemplateChoice(), host)
    texts = ["a good answer", "a much worse answer, and longer"]
    wanted = []
    for text in texts:
        ids = torch.tensor([served.engine.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            wanted.append(float(head(served.engine.model.model(ids).last_hidden_state[0, -1])))
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(served), log_level="error"))
    thread = threading.Thread(target=lambda: server.run(sockets=[sock]), daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        answer = httpx.post(
            f"{base}/v1/score/evaluation", json={"model": "reward", "messages": texts}, trust_env=False
        ).json()
        assert answer["scores"] == pytest.approx(wanted, abs=1e-4)
        assert answer["object"] == "score.evaluation"
        refused = httpx.post(f"{base}/v1/chat/completions", json={"messages": HI}, trust_env=False)
        assert refused.status_code == 405
        assert "reward model" in refused.json()["error"]["message"]
        assert httpx.post(f"{base}/v1/score/evaluation", json={"messages": []}, trust_env=False).status_code == 400
    finally:
        server.should_exit = True
        thread.join(20)
