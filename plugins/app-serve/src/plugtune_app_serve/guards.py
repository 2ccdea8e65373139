"""What stands before every request: the size of its body, the key, and the count of answers by status. Plain ASGI."""

from __future__ import annotations

import hmac
from typing import Any

from fastapi.responses import JSONResponse

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
