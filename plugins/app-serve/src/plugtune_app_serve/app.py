"""The application: routes, guards, and errors in one shape. Knows nothing of how a model is loaded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ValidationError

from plugtune_app_serve.chat import chat
from plugtune_app_serve.completions import complete
from plugtune_app_serve.errors import ApiError, error_body
from plugtune_app_serve.guards import BodyLimit, Count, KeyCheck, Visitors
from plugtune_app_serve.schemas import ChatRequest, CompletionRequest, ScoreRequest
from plugtune_app_serve.score import score
from plugtune_app_serve.state import Served

Model = TypeVar("Model", bound=BaseModel)

PATHS = frozenset(
    ("/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/score/evaluation", "/health", "/metrics")
)


async def read(request: Request, model: type[Model]) -> Model:
    """The body of a request.

    Raises:
        ApiError: it is no JSON, or a field is wrong; names the field.
    """
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # Behind the field stand the names of the alternatives of a union, which mean nothing to a client.
        place = [part for part in first["loc"] if isinstance(part, int) or "[" not in part]
        param = ".".join(str(part) for part in place[:3])
        raise ApiError(400, f"{param}: {first['msg']}", param=str(first["loc"][0]) if first["loc"] else None) from None


def guard(app: FastAPI, options: Any, metrics: Any) -> FastAPI:
    """Put the guards before an application, and make its errors ours."""
    # The one that is added last stands first: a body is read only from those who have the key.
    app.add_middleware(BodyLimit, limit=options.max_body_bytes)
    if options.api_key:
        app.add_middleware(KeyCheck, key=options.api_key)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=options.cors_origins, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )  # fmt: skip
    app.add_middleware(Visitors, host=options.host, names=options.allowed_hosts, origins=options.cors_origins)
    if metrics is not None:
        app.add_middleware(Count, metrics=metrics, paths=PATHS)

    @app.exception_handler(ApiError)
    async def told(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    @app.exception_handler(404)
    @app.exception_handler(405)
    async def http(request: Request, error: Any) -> Response:
        status = int(getattr(error, "status_code", 500))
        return JSONResponse(error_body(f"{request.method} {request.url.path}: {error.detail}"), status)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return JSONResponse(error_body("The server failed.", kind="server_error", code="internal_error"), 500)

    return app


def make_app(served: Served, ready: Callable[[], None] = lambda: None) -> FastAPI:
    """The application over a model; `ready` is called when it starts to answer."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        ready()
        yield
        served.scheduler.close()

    # No schema pages: they load scripts from other hosts.
    app = FastAPI(
        title="plugtune", docs_url=None, redoc_url=None, openapi_url=None, root_path=served.options.root_path,
        lifespan=lifespan,
    )  # fmt: skip
    guard(app, served.options, served.metrics)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await chat(await read(request, ChatRequest), request, served)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await complete(await read(request, CompletionRequest), request, served)

    @app.post("/v1/score/evaluation")
    async def evaluation(request: Request) -> Response:
        return await score(await read(request, ScoreRequest), served)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_card(name, served.created) for name in served.names]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        served.check_name(name)
        return _card(name, served.created)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        load = served.scheduler.load()
        return {"status": "ok", "model": served.name, "running": load.running, "waiting": load.waiting}

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(served.metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def _card(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "plugtune"}
