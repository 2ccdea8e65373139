"""The same door before a vLLM server, which runs in an environment of its own and is talked to over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from plugtune import RequestError

from plugtune_app_serve.app import guard
from plugtune_app_serve.errors import ApiError
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


def make_proxy(options: ServeOptions) -> FastAPI:
    """An application that hands requests on and streams answers back; key, limits and queue are this server's."""
    app = FastAPI(title="plugtune", docs_url=None, redoc_url=None, openapi_url=None, root_path=options.root_path)
    guard(app, options, None)
    client = httpx.AsyncClient(base_url=options.vllm_url, timeout=httpx.Timeout(600, connect=5), trust_env=False)
    places = asyncio.Semaphore(options.max_concurrent)
    waiting = [0]

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "backend": options.vllm_url, "waiting": waiting[0]}

    @app.get("/v1/models")
    @app.post("/v1/chat/completions")
    @app.post("/v1/completions")
    async def hand_on(request: Request) -> Response:
        if waiting[0] >= options.max_queue and places.locked():
            raise ApiError(429, "The server is busy.", kind="rate_limit_error", code="queue_full",
                           headers={"Retry-After": "1"})  # fmt: skip
        waiting[0] += 1
        try:
            await places.acquire()
        finally:
            waiting[0] -= 1
        try:
            path = request.url.path.removeprefix(options.root_path)
            asked = client.build_request(
                request.method, path, content=await request.body(), headers={"Content-Type": "application/json"}
            )
            answer = await client.send(asked, stream=True)
        except httpx.HTTPError as error:
            places.release()
            raise ApiError(
                503, f"The vLLM server at {options.vllm_url} does not answer: {type(error).__name__}",
                kind="service_unavailable", code="backend_down",
            ) from error  # fmt: skip
        except BaseException:
            places.release()
            raise

        async def body() -> AsyncIterator[bytes]:
            try:
                async for part in answer.aiter_raw():
                    yield part
            finally:  # the client may have gone: closing the connection cancels the work over there too
                await answer.aclose()
                places.release()

        kind = answer.headers.get("content-type", "application/json")
        return StreamingResponse(body(), answer.status_code, media_type=kind)

    return app
