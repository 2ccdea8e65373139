"""The door of the server: who may speak to it, from which page, and which of Gradio's routes are open at all.

A plain ASGI wrapper around the whole application. It knows addresses and headers, nothing of the board.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from plugtune.visitors import from_foreign_page, host_name, knows_host

Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Any, Any], Awaitable[None]]

COOKIE = "plugtune_board"
OPEN = (
    "queue/join", "queue/data", "startup-events", "heartbeat/", "cancel", "reset", "theme.css", "app_id", "info",
    "config", "static/", "assets/", "svelte/", "user", "token", "login_check", "favicon.ico",
)  # fmt: skip
"""What of `/gradio_api/` the pages need. Uploads, file serving, the proxy, streams, run history, code editing and the
named-endpoint API are closed."""
PAGE = ("", "login", "login/", "logout", "theme.css", "favicon.ico", "manifest.json", "robots.txt", "config", "config/",
        "login_check", "login_check/", "token", "token/", "user", "user/", "app_id", "app_id/")  # fmt: skip
FOLDERS = ("assets/", "static/", "svelte/")


class Gate:
    """Refuses before anything else runs.

    Args:
        app: the application behind it.
        local: whether the server listens on the loopback address only.
        hosts: further names under which browsers may address it.
        token: the secret that opens it; empty when none is needed here.
    """

    def __init__(self, app: Asgi, *, local: bool, hosts: Iterable[str] = (), token: str = "") -> None:
        self.app, self.local, self.token = app, local, token
        names = {"localhost"} if local else {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
        self.names = names | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal:
            await _answer(send, *refusal)
        elif self.token and not self._knows(scope, headers):
            await _answer(send, 401, "this board needs its token: open the address that it printed when it started")
        elif self.token and "token" in dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"))):
            await self._welcome(scope, send)
        else:
            await self.app(scope, receive, _guarded(send))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not knows_host(host, self.names, local=self.local):
            return 421, f"this board does not answer to the name {host_name(host)!r}; start it with --allowed-host"
        if from_foreign_page(headers, scope["method"]):
            return 403, "the request comes from a page of another site"
        if not _is_open(scope["path"]):
            return 404, "there is nothing here"
        return None

    def _knows(self, scope: Scope, headers: dict[str, str]) -> bool:
        jar = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            jar = SimpleCookie()
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        given = [
            jar[COOKIE].value if COOKIE in jar else "",
            headers.get("authorization", "").removeprefix("Bearer "),
            query.get("token", ""),
        ]
        return any(secrets.compare_digest(text.encode(), self.token.encode()) for text in given)

    async def _welcome(self, scope: Scope, send: Any) -> None:
        """The token moves from the address, which history and logs keep, into a cookie."""
        query = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1")) if k != "token"]
        location = scope.get("root_path", "") + scope["path"] + ("?" + urlencode(query) if query else "")
        cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", location.encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _is_open(path: str) -> bool:
    rest = path.lstrip("/")
    if rest.startswith("gradio_api/"):
        rest = rest.removeprefix("gradio_api/")
        return any(rest.startswith(p) if p.endswith("/") else rest.rstrip("/") == p for p in OPEN)
    return rest in PAGE or rest.startswith(FOLDERS)


def _guarded(send: Any) -> Any:
    """Headers that keep other sites from framing the board or reading its types."""

    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", []), (b"x-frame-options", b"DENY"), (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"same-origin"), (b"cross-origin-opener-policy", b"same-origin"),
            ]  # fmt: skip
        await send(message)

    return guarded


async def _answer(send: Any, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode("utf-8")})
