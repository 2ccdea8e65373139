"""Scores from a real HTTP server on this machine: what it is asked, and how failures are told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from plugtune.errors import RequestError, RunError
from plugtune.training.online.server import ServerReward


class Server:
    """Answers with what `reply` says: a function of the request's JSON that gives status and body."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.reply: Any = lambda body: (200, {"scores": [float(len(text)) for text in body["messages"]]})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                status, answer = outer.reply(body)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/score"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def test_texts_are_posted_and_scores_come_back(server, tokenizer):
    ask = ServerReward(server.address, tokenizer)
    prompt, answers = tokenizer.encode("<|im_start|>Hello"), [tokenizer.encode(" you<|im_end|>"), tokenizer.encode("!")]
    scores = ask([prompt, prompt], answers)
    texts = ["<|im_start|>Hello you<|im_end|>", "<|im_start|>Hello!"]
    assert server.asked == [{"model": "model", "messages": texts}]
    assert scores.tolist() == [len(text) for text in texts]


def test_a_busy_server_is_asked_again(server, tokenizer):
    plain = server.reply
    server.reply = lambda body: (503, {}) if len(server.asked) < 2 else plain(body)
    assert ServerReward(server.address, tokenizer, pause=0.01)([[5]], [[6]]).shape == (1,)
    assert len(server.asked) == 2


def late(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    time.sleep(1.0)
    return 200, {"scores": [1.0]}


FAILURES = {
    "refusal": (lambda body: (400, {"detail": "no such model"}), "answered 400.*\n?.*no such model"),
    "other keys": (lambda body: (200, {"points": []}), "does not answer with scores"),
    "no JSON": (lambda body: (200, b"<html>"), "does not answer with scores"),
    "too few": (lambda body: (200, {"scores": []}), "0 scores for 1 answers"),
    "not finite": (lambda body: (200, b'{"scores": [NaN]}'), "finite"),
    "too slow": (late, "cannot be reached"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_failures_are_told_in_time(server, tokenizer, kind):
    server.reply, told = FAILURES[kind]
    started = time.monotonic()
    with pytest.raises(RunError, match=told):
        ServerReward(server.address, tokenizer, timeout=0.2, pause=0.01)([[5]], [[6]])
    assert time.monotonic() - started < 5


def test_a_server_that_is_not_there_and_an_address_that_is_none_are_told(tokenizer):
    with pytest.raises(RunError, match="cannot be reached"):
        ServerReward("http://127.0.0.1:9/", tokenizer, pause=0.01)([[5]], [[6]])
    with pytest.raises(RequestError, match="no address"):
        ServerReward("file:///etc/passwd", tokenizer)
