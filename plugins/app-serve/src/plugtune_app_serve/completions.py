"""`/v1/completions`: plain texts or token ids are gone on with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from plugtune.inference.job import Job

from plugtune_app_serve import prompts, shapes
from plugtune_app_serve.answering import answering, unless_gone
from plugtune_app_serve.chat import stream_response
from plugtune_app_serve.errors import ApiError
from plugtune_app_serve.schemas import CompletionRequest
from plugtune_app_serve.state import Served


@dataclass(slots=True)
class Asked:
    """A request with everything checked; `echoes` holds each answer's prompt text, empty unless it was asked for."""

    request: CompletionRequest
    model: str
    jobs: list[Job]
    echoes: list[str]
    prompt_tokens: int


def prepare(request: CompletionRequest, served: Served) -> Asked:
    """Check a request and make its jobs, those of one prompt beside each other.

    Raises:
        ApiError: something is wrong with it.
    """
    adapter = served.adapter(request.model)
    if request.suffix:
        raise ApiError(400, "suffix is not supported", param="suffix")
    if request.best_of and request.best_of != (request.n or 1):
        raise ApiError(400, "best_of is not supported beyond n", param="best_of")
    tokenizer, jobs, echoes, count = served.engine.tokenizer, [], [], 0
    for given in _several(request.prompt):
        ids = list(tokenizer(given)["input_ids"]) if isinstance(given, str) else list(given)
        if any(not 0 <= token < served.vocabulary for token in ids):
            raise ApiError(400, f"token ids go from 0 to {served.vocabulary - 1}", param="prompt")
        room = prompts.room_for(ids, served.engine.context(), request.max_tokens or 16, param="prompt")
        if request.max_tokens is None:
            request.max_tokens = min(16, served.options.max_answer_tokens)  # the API's own default
        sampling = prompts.sampling_of(
            request, served.generation, logprobs=request.logprobs, room=room, most=served.options.max_answer_tokens
        )
        mine = served.jobs(ids, sampling, request.n, adapter, chat=False)
        jobs += mine
        text = given if isinstance(given, str) else str(tokenizer.decode(ids))
        echoes += [text if request.echo else ""] * len(mine)
        count += len(ids)
    if len(jobs) > served.options.max_n * 8:
        raise ApiError(400, f"at most {served.options.max_n * 8} answers to one request", param="prompt")
    return Asked(request, served.name_of(request.model), jobs, echoes, count)


def _several(given: Any) -> list[Any]:
    if isinstance(given, str) or not given or isinstance(given[0], int):
        return [given]
    return list(given)


async def complete(request: CompletionRequest, http: Request, served: Served) -> Response:
    """Answer a completion request."""
    asked = prepare(request, served)
    if request.stream:
        return await stream_response(_stream(asked, served), served, asked.jobs)
    answer: dict[str, Any] | None = await unless_gone(http, _whole(asked, served))
    return JSONResponse(answer) if answer is not None else Response(status_code=499)


async def _whole(asked: Asked, served: Served) -> dict[str, Any]:
    async with answering(served.scheduler, asked.jobs, served.metrics) as answers:
        async for _ in answers.all():
            pass
    choices = []
    for index, (job, echo) in enumerate(zip(asked.jobs, asked.echoes, strict=True)):
        choice: dict[str, Any] = {"index": index, "text": echo + job.text, "logprobs": None}
        if asked.request.logprobs is not None:
            choice["logprobs"] = shapes.text_logprobs(
                job.row, served.engine.tokenizer, 0, len(job.row.ids), len(echo)
            )  # fmt: skip
        choice["finish_reason"] = shapes.finish(job.row.finish)
        choices.append(choice)
    body = shapes.envelope("cmpl", "text_completion", asked.model)
    return body | {"choices": choices, "usage": shapes.usage(asked.jobs, asked.prompt_tokens)}


async def _stream(asked: Asked, served: Served) -> AsyncIterator[str]:
    base = shapes.envelope("cmpl", "text_completion", asked.model)
    options = asked.request.stream_options
    with_usage = bool(options and options.include_usage)

    def chunk(index: int, text: str, reason: str | None = None, logprobs: Any = None) -> str:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return shapes.event({**base, "choices": [choice], **({"usage": None} if with_usage else {})})

    async with answering(served.scheduler, asked.jobs, served.metrics) as answers:
        yield ""
        lengths = [len(echo) for echo in asked.echoes]
        for index, echo in enumerate(asked.echoes):
            if echo:
                yield chunk(index, echo)
        async for index, piece in answers.all():
            row, logprobs = asked.jobs[index].row, None
            if asked.request.logprobs is not None:
                logprobs = shapes.text_logprobs(
                    row, served.engine.tokenizer, piece.start, piece.end, lengths[index]
                )  # fmt: skip
            lengths[index] += len(piece.text)
            yield chunk(index, piece.text, shapes.finish(piece.finish) if piece.finish else None, logprobs)
    if with_usage:
        yield shapes.event({**base, "choices": [], "usage": shapes.usage(asked.jobs, asked.prompt_tokens)})
    yield shapes.event("[DONE]")
