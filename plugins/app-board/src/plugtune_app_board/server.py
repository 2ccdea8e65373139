"""Serves a page: Gradio behind the gate, uvicorn below. Says where it listens, once it does."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from typing import Any

from plugtune.errors import RequestError

from plugtune_app_board.gate import Gate
from plugtune_app_board.settings import Settings

# Before Gradio is imported: it would report its use, look for updates, and keep a history of what was asked.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ["GRADIO_RUN_HISTORY"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def application(page: Any, settings: Settings) -> Gate:
    """The ASGI application of a page."""
    import gradio as gr
    from fastapi import FastAPI

    from plugtune_app_board.app import css, theme

    page.queue(default_concurrency_limit=8, max_size=64)
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None, docs_url=None, redoc_url=None), page, path="/", server_name=settings.host,
        server_port=settings.port, auth=settings.auth, root_path=settings.root_path or None, allowed_paths=[],
        blocked_paths=["/"], show_error=False, max_file_size=1, ssr_mode=False, enable_monitoring=False, pwa=False,
        run_history=False, mcp_server=False, footer_links=[], theme=theme(), css=css(),
    )  # fmt: skip
    return Gate(app, local=settings.local, hosts=(settings.host, *settings.allowed_hosts), token=settings.token)


def serve(page: Any, settings: Settings) -> None:
    """Listen until interrupted.

    Raises:
        RequestError: the address cannot be had.
    """
    import uvicorn

    sock = _listen(settings)
    config = uvicorn.Config(
        application(page, settings), log_level="warning", access_log=False, timeout_graceful_shutdown=1,
        server_header=False, h11_max_incomplete_event_size=1 << 20,
    )  # fmt: skip
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "localhost") else settings.host
    shown = f"[{shown}]" if ":" in shown else shown
    address = f"http://{shown}:{sock.getsockname()[1]}{settings.root_path}/"
    print(f"Running on local URL: {address}" + (f"?token={settings.token}" if settings.token else ""), flush=True)
    if not settings.local:
        print(f"other machines reach it as {socket.gethostname()} or by address; it asks for "
              f"{'a login' if settings.auth else 'the token above'}", file=sys.stderr, flush=True)  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_worth_saying)
    uvicorn.Server(config).run(sockets=[sock])


def _worth_saying(record: logging.LogRecord) -> bool:
    """Whether a line of the server's is shown: an open page's stream that ends with the server is no error."""
    kind = record.exc_info[0] if record.exc_info else None
    return not (kind is not None and issubclass(kind, asyncio.CancelledError)) and "running task(s)" not in record.msg


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
        sock.listen(128)  # from now on visitors wait instead of being refused: the address is told before the loop runs
    except OSError as error:
        sock.close()
        raise RequestError(
            f"{settings.host}:{settings.port} cannot be had", where="--port", why=str(error),
            fix="choose another with --port, or end what listens there",
        ) from error  # fmt: skip
    return sock
