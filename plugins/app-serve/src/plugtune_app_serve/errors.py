"""Errors in the OpenAI shape: `{"error": {"message", "type", "param", "code"}}` with the status that belongs to it."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, message: str, *, kind: str = "invalid_request_error", param: str | None = None,
        code: str | None = None, headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.headers = status, headers
        self.body = error_body(message, kind=kind, param=param, code=code)

    def response(self) -> JSONResponse:
        """The response."""
        return JSONResponse(self.body, self.status, headers=self.headers)


def error_body(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def too_busy(waiting: int) -> ApiError:
    """The queue is full."""
    return ApiError(
        429, f"The server is busy: {waiting} answers wait already. Try again later.", kind="rate_limit_error",
        code="queue_full", headers={"Retry-After": "1"},
    )  # fmt: skip


def closing() -> ApiError:
    """The server goes down."""
    return ApiError(
        503, "The server is shutting down.", kind="service_unavailable", code="shutting_down",
        headers={"Retry-After": "5"},
    )  # fmt: skip


def failed(error: BaseException) -> ApiError:
    """The engine failed on this request."""
    return ApiError(500, f"The model failed: {type(error).__name__}", kind="server_error", code="engine_failed")
