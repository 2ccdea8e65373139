"""What stands before every request: who sends it, the size of its body, the key, and a count by status. Plain ASGI."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Collection
from typing import Any

from fastapi.responses import JSONResponse
from plugtune.visitors import LOOPBACK, from_foreign_page, host_name, knows_host

from plugtune_app_serve.errors import error_body

OPEN = ("/health",)
"""Paths that need no key."""


class BodyLimit:
    """Refuses bodies above a size, whether their length is announced or not."""

    def __init__(self, app: Any, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on what fits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self.limit:
            await self._refuse(scope, receive, send)
            return
        # The body is read before anything else looks at it: it is no larger than the limit.
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.limit:
                await self._refuse(scope, receive, send)
                return
        given = False

        async def replay() -> Any:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self.app(scope, replay, send)

    async def _refuse(self, scope: Any, receive: Any, send: Any) -> None:
        message = f"The request body is larger than {self.limit} bytes."
        response = JSONResponse(error_body(message, code="request_too_large"), 413, headers={"Connection": "close"})
        await response(scope, receive, send)


class Visitors:
    """Refuses what pages of other sites send, and names that were pointed here; a key is not enough to tell them.

    Args:
        app: the application behind it.
        host: the address that the server listens on.
        names: further names under which it may be addressed.
        origins: pages that may call it.
    """

    def __init__(self, app: Any, host: str, names: Collection[str], origins: Collection[str]) -> None:
        self.app, self.local, self.origins = app, host.strip("[]") in LOOPBACK, tuple(origins)
        own = {"localhost"} if self.local else {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
        self.names = own | {name.lower() for name in names}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on who may ask."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        host = headers.get("host", "")
        refusal = None
        if not knows_host(host, self.names, local=self.local):
            name = host_name(host)
            refusal = 421, f"This server does not answer to the name {name!r}; start it with --allowed_hosts {name}."
        elif from_foreign_page(headers, scope["method"], self.origins):
            refusal = 403, "The request comes from a page of another site; --cors_origins names pages that may call."
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await JSONResponse(error_body(refusal[1], code="forbidden"), refusal[0])(scope, receive, send)


class KeyCheck:
    """Asks for `Authorization: Bearer KEY`, compared in constant time."""

    def __init__(self, app: Any, key: str) -> None:
        self.app, self.key = app, key.encode("utf-8")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on who has the key; preflight requests carry none."""
        if scope["type"] != "http" or scope["path"] in OPEN or scope["method"] == "OPTIONS":
            await self.app(scope, receive, send)
            return
        header = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, given = header.partition(b" ")
        if kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), self.key):
            await self.app(scope, receive, send)
            return
        what = "Incorrect API key provided." if header else "You did not provide an API key (Authorization: Bearer)."
        body = error_body(what, code="invalid_api_key")
        await JSONResponse(body, 401, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)


class Count:
    """Counts requests by path and status."""

    def __init__(self, app: Any, metrics: Any, paths: frozenset[str]) -> None:
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass everything on, looking at the status."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counted)
