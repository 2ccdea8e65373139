"""What a client may not make the server do, and who may not be a client. Holes that other servers have had."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")


@pytest.fixture
def trap() -> Iterator[tuple[str, list[Any]]]:
    """An address inside the network, and who connected to it."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(0.1)
    visits: list[Any] = []
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            try:
                visits.append(sock.accept()[1])
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen)
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}/latest/meta-data", visits
    done.set()
    thread.join()
    sock.close()


@pytest.fixture(scope="module")
def served(lively_dir: Any, tokenizer: Any, host: Any) -> Iterator[Any]:
    from plugtune.inference.engine import Engine
    from plugtune.inference.scheduler import Scheduler
    from plugtune.options.groups import GenerationOptions
    from plugtune.templating.choose import bind
    from plugtune_app_serve.options import ServeOptions
    from plugtune_app_serve.state import Served
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(lively_dir, dtype=torch.float32).eval()
    engine = Engine(model, tokenizer, bind("qwen", host.catalog, tokenizer))
    scheduler = Scheduler(engine)
    yield Served(engine, scheduler, ServeOptions(), GenerationOptions(max_new_tokens=4, do_sample=False), "tiny")
    scheduler.close()


def ask(served: Any, path: str = "/v1/chat/completions", body: Any = None, method: str = "POST", **headers: str) -> Any:
    import asyncio

    from plugtune_app_serve.app import make_app

    async def go() -> Any:
        transport = httpx.ASGITransport(make_app(served))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(method, path, content=json.dumps(body), headers=headers)

    return asyncio.run(go())


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 2, **more}


@pytest.mark.parametrize("kind", ["image_url", "video_url", "audio_url", "input_audio", "file", "image", "input_image"])
def test_no_part_of_a_message_is_fetched_or_read(served: Any, trap: tuple[str, list[Any]], kind: str) -> None:
    """CVE-2025-61784: the chat API fetched any address and read any file that a message named."""
    address, visits = trap
    for place in (address, "file:///etc/passwd", "/etc/passwd", address.replace("127.0.0.1", "localhost")):
        for part in ({"type": kind, kind: {"url": place}}, {"type": kind, kind: place}, {"type": kind, "url": place}):
            answer = ask(served, body=chat([{"type": "text", "text": "look"}, part]))
            assert answer.status_code == 400
            assert "root:" not in answer.text
    assert visits == []


def test_a_schema_is_not_fetched_from_where_it_points(served: Any, trap: tuple[str, list[Any]]) -> None:
    address, visits = trap
    for schema in (
        {"$ref": address},
        {"$ref": "file:///etc/passwd"},
        {"$schema": address, "$id": address, "$ref": "x"},
    ):
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        assert ask(served, body=chat("x", tools=[tool], tool_choice="required")).status_code == 400
        wanted = {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}
        assert ask(served, body=chat("x", response_format=wanted)).status_code == 400
    assert visits == []


def test_a_request_chooses_no_file_and_no_code(served: Any, tmp_path: Any) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    for name in (str(tmp_path), "../tiny", "/etc/passwd", "tiny/../tiny", "-", "default"):
        answer = ask(served, body=chat("x", model=name))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    loud = chat(
        "x",
        trust_remote_code=True,
        model_name_or_path="/etc",
        adapter_name_or_path=str(tmp_path),
        chat_template="{{ 1 }}",
    )
    quiet = ask(served, body=chat("x"))
    assert ask(served, body=loud).json()["choices"] == quiet.json()["choices"], "unknown fields do nothing"


@pytest.mark.parametrize(
    "name", ["evil.example:8000", "127.0.0.1.nip.io", "localhost.evil.example", "192.168.1.7:8000", ""]
)
def test_a_name_that_was_pointed_here_is_not_answered(served: Any, name: str) -> None:
    """DNS rebinding: a page reaches 127.0.0.1 under a name of the attacker's own, and reads the answers."""
    assert ask(served, "/v1/models", method="GET", host=name).status_code == 421
    assert ask(served, "/v1/models", method="GET", host="localhost:8000").status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
def test_a_page_of_another_site_makes_it_compute_nothing(served: Any, origin: str) -> None:
    """A browser sends text/plain anywhere without asking; without CORS only the answer is hidden from the page."""
    counted = lambda: [x for x in str(served.metrics.text()).split("\\n") if "tokens_total" in x and "#" not in x]  # noqa: E731
    before = counted()
    answer = ask(served, body=chat("x"), origin=origin, **{"content-type": "text/plain"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert before
    assert counted() == before


def test_pages_that_the_operator_names_may_call(served: Any) -> None:
    served.options.cors_origins = ["http://my.page"]
    try:
        answer = ask(served, body=chat("x"), origin="http://my.page")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "http://my.page")
        assert ask(served, body=chat("x"), origin="http://evil.example").status_code == 403
    finally:
        served.options.cors_origins = []


def test_it_listens_to_this_machine_only_and_never_openly_by_accident() -> None:
    from plugtune_app_serve.command import protect
    from plugtune_app_serve.options import ServeOptions

    assert ServeOptions().host == "127.0.0.1"
    assert not protect(ServeOptions())
    for host in ("0.0.0.0", "::", "[::]", "192.168.1.7"):
        wide = ServeOptions(host=host)
        assert protect(wide)
        assert len(wide.api_key or "") >= 32
    own, open_to_all = ServeOptions(host="0.0.0.0", api_key="mine"), ServeOptions(host="0.0.0.0", open_to_all=True)
    assert not protect(own)
    assert not protect(open_to_all)
    assert (own.api_key, open_to_all.api_key) == ("mine", None)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic c2VjcmV0", "Bearer secretx"])
def test_no_other_key_opens_it(served: Any, header: str) -> None:
    served.options.api_key = "secret"
    try:
        for path, method in (("/v1/models", "GET"), ("/metrics", "GET"), ("/v1/chat/completions", "POST")):
            given = {"authorization": header} if header else {}
            assert ask(served, path, chat("x"), method, **given).status_code == 401
        assert ask(served, "/v1/models", method="GET", authorization="Bearer secret").status_code == 200
    finally:
        served.options.api_key = None
