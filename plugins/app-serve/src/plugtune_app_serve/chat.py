"""`/v1/chat/completions`: whole answers and streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from plugtune.inference.job import Job
from plugtune.inference.pieces import Piece
from plugtune.inference.reading import AnswerReader, Reading, Thoughts

from plugtune_app_serve import prompts, shapes
from plugtune_app_serve.answering import Answers, answering, unless_gone
from plugtune_app_serve.errors import ApiError
from plugtune_app_serve.schemas import ChatRequest
from plugtune_app_serve.state import Served


@dataclass(slots=True)
class Asked:
    """A chat request with everything checked."""

    request: ChatRequest
    model: str
    jobs: list[Job]
    reader: AnswerReader
    tools: bool


def prepare(request: ChatRequest, served: Served) -> Asked:
    """Check a request and make its jobs.

    Raises:
        ApiError: something is wrong with it.
    """
    adapter = served.adapter(request.model)
    if served.engine.template is None:
        raise ApiError(400, "this model has no chat template; use /v1/completions", param="messages")
    if request.top_logprobs is not None and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs", param="top_logprobs")
    tools = prompts.tools_of(request)
    prompt = prompts.encode(served.engine.template, prompts.conversation(request, tools))
    asked = request.max_completion_tokens or request.max_tokens
    room = prompts.room_for(prompt, served.engine.context(), asked, param="messages")
    logprobs = (request.top_logprobs or 0) if request.logprobs else None
    sampling = prompts.sampling_of(
        request, served.generation, logprobs=logprobs, room=room, most=served.options.max_answer_tokens
    )
    if served.reader.shows_specials(tools):
        sampling = replace(sampling, skip_special_tokens=False)
    guide = served.forms.guide(request, tools, prompt)
    if guide is not None:
        sampling = replace(sampling, ignore_eos=False)
    jobs = served.jobs(prompt, sampling, request.n, adapter)
    for job in jobs:
        job.row.guide = guide() if guide is not None else None
    return Asked(request, served.name_of(request.model), jobs, served.reader, bool(tools))


async def chat(request: ChatRequest, http: Request, served: Served) -> Response:
    """Answer a chat request."""
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
    for index, job in enumerate(asked.jobs):
        reading = asked.reader.read(job.text, job.row.prompt, tools=asked.tools)
        choice: dict[str, Any] = {"index": index, "message": shapes.message(reading), "logprobs": None}
        if asked.request.logprobs:
            choice["logprobs"] = shapes.chat_logprobs(job.row, served.engine.tokenizer, 0, len(job.row.ids))
        choice["finish_reason"] = shapes.finish(job.row.finish, bool(reading.calls))
        choices.append(choice)
    body = shapes.envelope("chatcmpl", "chat.completion", asked.model)
    return body | {"choices": choices, "usage": shapes.usage(asked.jobs)}


class _Delta:
    """One answer of a stream, as it grows. With tools on offer, what is said waits until it is surely no call."""

    def __init__(self, job: Job, reader: AnswerReader, tools: bool) -> None:
        self.job, self.reader, self.tools = job, reader, tools
        self.thoughts: Thoughts = reader.thoughts(job.row.prompt)
        self.waiting = ""
        self.called = False

    def parts(self, piece: Piece) -> list[dict[str, Any]]:
        """The deltas of a piece."""
        thought, said = self.thoughts.feed(piece.text, last=bool(piece.finish))
        found: list[dict[str, Any]] = [{"reasoning_content": thought}] if thought else []
        if not self.tools:
            return found + ([{"content": said}] if said else [])
        self.waiting += said
        if piece.finish:
            reading: Reading = self.reader.read_said(self.waiting, tools=True)
            self.called = bool(reading.calls)
            found += [{"content": reading.content}] if reading.content else []
            found += [{"tool_calls": shapes.tool_calls(reading, streamed=True)}] if reading.calls else []
        return found


async def _stream(asked: Asked, served: Served) -> AsyncIterator[str]:
    base = shapes.envelope("chatcmpl", "chat.completion.chunk", asked.model)
    options = asked.request.stream_options
    with_usage = bool(options and options.include_usage)

    def chunk(index: int, delta: dict[str, Any], reason: str | None = None, logprobs: Any = None) -> str:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return shapes.event({**base, "choices": [choice], **({"usage": None} if with_usage else {})})

    async with answering(served.scheduler, asked.jobs, served.metrics) as answers:
        yield ""  # the jobs are in line: a refusal has been raised by now
        for index in range(len(asked.jobs)):
            yield chunk(index, {"role": "assistant", "content": ""})
        deltas = [_Delta(job, asked.reader, asked.tools) for job in asked.jobs]
        async for index, piece in answers.all():
            row, logprobs = asked.jobs[index].row, None
            if asked.request.logprobs:
                logprobs = shapes.chat_logprobs(row, served.engine.tokenizer, piece.start, piece.end)
            parts = deltas[index].parts(piece) or ([{}] if logprobs and logprobs["content"] else [])
            for place, part in enumerate(parts):
                yield chunk(index, part, logprobs=logprobs if place == 0 else None)
            if piece.finish:
                yield chunk(index, {}, shapes.finish(piece.finish, deltas[index].called))
    if with_usage:
        yield shapes.event({**base, "choices": [], "usage": shapes.usage(asked.jobs)})
    yield shapes.event("[DONE]")


async def stream_response(events: AsyncIterator[str], served: Served, jobs: list[Job]) -> Response:
    """A stream whose first step is taken before the status is sent, so that a full queue is still told by it."""
    first = await anext(events)

    async def body() -> AsyncIterator[str]:
        if first:
            yield first
        try:
            async for text in events:
                yield text
        except ApiError as error:
            yield shapes.event(error.body)
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


__all__ = ["Answers", "chat", "prepare", "stream_response"]
