"""The same door before a vLLM server, which runs in an environment of its own and is talked to over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from plugtune import RequestError
from plugtune.inference.scheduler import Load

from plugtune_app_serve.app import guard
from plugtune_app_serve.errors import ApiError
from plugtune_app_serve.metrics import Metrics
from plugtune_app_serve.options import ServeOptions


def check_backend(url: str) -> list[str]:
    """Names of the models that the vLLM server has.

    Raises:
        RequestError: nothing answers there, or it is no OpenAI server.
    """
    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/models", timeout=5, trust_env=False)
        answer.raise_for_status()
        return [str(card["id"]) for card in answer.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"no vLLM server answers at {url}", where="infer_backend", why=f"{type(error).__name__}: {error}",
            fix="in an environment that has vllm: `vllm serve MODEL --port 8001`; name it here with --vllm_url, or "
            "leave infer_backend out",
        ) from error  # fmt: skip


class Door:
    """Hands requests on to the server behind it; at most `max_concurrent` at a time, `max_queue` wait.

    Args:
        options: the server's; the limits on tokens and answers hold here as well.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.client = httpx.AsyncClient(
            base_url=options.vllm_url, timeout=httpx.Timeout(600, connect=5), trust_env=False
        )
        self.places = asyncio.Semaphore(options.max_concurrent)
        self.running = self.waiting = 0
        self.metrics = Metrics(lambda: Load(self.running, self.waiting))

    async def hand_on(self, request: Request) -> Response:
        """The answer of the server behind, streamed.

        Raises:
            ApiError: too much is asked, too many wait, or nothing answers there.
        """
        content = await request.body()
        check_limits(content, self.options)
        if self.waiting >= self.options.max_queue and self.places.locked():
            raise ApiError(429, "The server is busy.", kind="rate_limit_error", code="queue_full",
                           headers={"Retry-After": "1"})  # fmt: skip
        self.waiting += 1
        try:
            await self.places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            answer = await self._ask(request, content)
        except httpx.HTTPError as error:
            self._leave()
            raise ApiError(
                503, f"The vLLM server at {self.options.vllm_url} does not answer: {type(error).__name__}",
                kind="service_unavailable", code="backend_down",
            ) from error  # fmt: skip
        except BaseException:
            self._leave()
            raise
        kind = answer.headers.get("content-type", "application/json")
        return StreamingResponse(self._parts(answer), answer.status_code, media_type=kind)

    async def _ask(self, request: Request, content: bytes) -> httpx.Response:
        """Ask, and look whether the client still waits: if not, closing the connection ends the work over there."""
        path = request.url.path.removeprefix(self.options.root_path)
        asked = self.client.build_request(
            request.method, path, content=content, headers={"Content-Type": "application/json"}
        )
        task = asyncio.create_task(self.client.send(asked, stream=True))
        try:
            while not (await asyncio.wait({task}, timeout=0.25))[0]:
                if await request.is_disconnected():
                    self.metrics.cancelled.inc()
                    raise ApiError(499, "The client went away.", code="client_closed_request")
            return task.result()
        finally:
            task.cancel()

    async def _parts(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for part in answer.aiter_raw():
                yield part
        finally:
            await answer.aclose()
            self._leave()

    def _leave(self) -> None:
        self.running -= 1
        self.places.release()


def check_limits(content: bytes, options: ServeOptions) -> None:
    """Refuse more tokens or answers than this server gives; what is no JSON is judged by the server behind.

    Raises:
        ApiError: too many were asked for.
    """
    try:
        asked = json.loads(content or b"{}")
    except ValueError:
        return
    limits = {"n": options.max_n, "best_of": options.max_n, "max_tokens": options.max_answer_tokens,
              "max_completion_tokens": options.max_answer_tokens}  # fmt: skip
    for name, most in limits.items():
        value = asked.get(name) if isinstance(asked, dict) else None
        if isinstance(value, int) and value > most:
            raise ApiError(400, f"{name} is at most {most} on this server", param=name)


def make_proxy(options: ServeOptions) -> FastAPI:
    """An application that hands requests on and streams answers back; key, limits and queue are this server's."""
    app = FastAPI(title="plugtune", docs_url=None, redoc_url=None, openapi_url=None, root_path=options.root_path)
    door = Door(options)
    guard(app, options, door.metrics)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "backend": options.vllm_url, "running": door.running, "waiting": door.waiting}

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(door.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    @app.get("/v1/models/{name:path}")
    @app.post("/v1/chat/completions")
    @app.post("/v1/completions")
    async def hand_on(request: Request) -> Response:
        return await door.hand_on(request)

    return app
