"""What clients send. Unknown fields are let through, so that newer clients work; wrong values are told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class StreamOptions(BaseModel):
    """How a stream ends."""

    include_usage: bool = False


class Sampled(BaseModel):
    """What chat and plain completions share."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    n: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    repetition_penalty: float | None = Field(None, gt=0)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    do_sample: bool | None = None
    ignore_eos: bool | None = None
    max_tokens: int | None = Field(None, ge=1)


class FunctionOffer(BaseModel):
    """A function that may be called."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolOffer(BaseModel):
    """A tool that is offered."""

    type: Literal["function"] = "function"
    function: FunctionOffer


class ChatRequest(Sampled):
    """`/v1/chat/completions`."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    tools: list[ToolOffer] | None = None
    tool_choice: str | dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: dict[str, Any] | None = None


class CompletionRequest(Sampled):
    """`/v1/completions`."""

    prompt: str | list[str] | list[int] | list[list[int]]
    suffix: str | None = None
    echo: bool = False
    best_of: int | None = Field(None, ge=1)
    logprobs: int | None = Field(None, ge=0, le=20)


class ScoreRequest(BaseModel):
    """`/v1/score/evaluation`, LLaMA-Factory's own."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str | None = None
    messages: list[str] = Field(min_length=1)
    max_length: int | None = Field(None, ge=1)
