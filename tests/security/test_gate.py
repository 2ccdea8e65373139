"""Who may speak to the board: names, origins, tokens, and the routes that are open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from plugtune.errors import RequestError


def _ask(
    gate: Any, path: str = "/", method: str = "GET", query: str = "", **headers: str
) -> tuple[int, dict[str, str]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http", "path": path, "method": method, "query_string": query.encode(),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    asyncio.run(gate(scope, receive, send))
    return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0].get("headers", [])}


async def _inside(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def _gate(**settings: Any) -> Any:
    from plugtune_app_board.gate import Gate

    return Gate(_inside, **{"local": True, **settings})


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "127.0.0.1"])
def test_a_local_board_answers_to_this_machine_s_names(host: str) -> None:
    assert _ask(_gate(), host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "192.168.1.7:7860",
        "",
        "a:b:c",
        "[::1",
        "169.254.169.254",
    ],
)
def test_a_name_that_was_pointed_here_is_not_answered(host: str) -> None:
    """DNS rebinding: the attacker's page reaches 127.0.0.1 under a name of the attacker's own."""
    assert _ask(_gate(), host=host)[0] == 421


def test_a_reachable_board_answers_to_addresses_and_named_hosts_only() -> None:
    gate = _gate(local=False, hosts=("board.example",))
    assert [_ask(gate, host=h)[0] for h in ("10.0.0.5:7860", "board.example", "evil.example")] == [200, 200, 421]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:9999", "https://localhost:7860.evil.example"]
)
def test_a_page_of_another_site_is_refused(origin: str) -> None:
    assert _ask(_gate(), "/gradio_api/queue/join", "POST", host="localhost:7860", origin=origin)[0] == 403


def test_the_board_s_own_page_is_not_refused() -> None:
    assert (
        _ask(_gate(), "/gradio_api/queue/join", "POST", host="localhost:7860", origin="http://localhost:7860")[0] == 200
    )


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file=../../etc/passwd", "/gradio_api/file=http://169.254.169.254/", "/file=/etc/passwd", "/gradio_api/upload", "/upload",
     "/gradio_api/proxy=http://127.0.0.1:22/", "/proxy=https://x.hf.space/", "/gradio_api/component_server", "/gradio_api/run/predict", "/gradio_api/call/x", "/gradio_api/run-history/records",
     "/gradio_api/vibe-edit/", "/gradio_api/stream/x/1/2/playlist.m3u8", "/gradio_api/monitoring", "/monitoring/summary", "/dev/reload", "/openapi.json", "/docs", "/gradio_api/openapi.json",
     "/runs", "/gradio_api/process_recording", "/gradio_api/deep_link", "/custom_component/x/client/y/z.js", "/gradio_api/upload_progress"],
)  # fmt: skip
def test_routes_that_the_pages_do_not_need_are_closed(path: str) -> None:
    assert _ask(_gate(), path, host="localhost")[0] == 404


def test_the_token_opens_and_moves_from_the_address_into_a_cookie() -> None:
    gate = _gate(token="secret")
    assert _ask(gate, host="localhost")[0] == 401
    assert _ask(gate, host="localhost", query="token=wrong")[0] == 401
    status, headers = _ask(gate, host="localhost", query="token=secret&x=1")
    assert (status, headers["location"]) == (303, "/?x=1")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    assert _ask(gate, host="localhost", cookie="plugtune_board=secret")[0] == 200
    assert _ask(gate, host="localhost", authorization="Bearer secret")[0] == 200
    assert _ask(gate, "/gradio_api/queue/join", "POST", host="localhost", cookie="plugtune_board=other")[0] == 401


def test_no_other_site_may_frame_it() -> None:
    assert _ask(_gate(), host="localhost")[1]["x-frame-options"] == "DENY"


def test_it_listens_to_this_machine_only_unless_told_and_never_openly() -> None:
    from plugtune_app_board.settings import read_settings

    assert read_settings(environ={}).host == "127.0.0.1"
    assert read_settings(environ={}).token == ""
    wide = read_settings(environ={"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "9000"})
    assert (wide.host, wide.port) == ("0.0.0.0", 9000)
    assert len(wide.token) >= 32, "a board that others reach asks for a secret"
    assert read_settings(host="0.0.0.0", auth="me:pass", environ={}).token == ""
    with pytest.raises(RequestError, match="user:password"):
        read_settings(auth="me", environ={})
