"""Pieces of responses in the OpenAI shape."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from plugtune.inference.batch import Row
from plugtune.inference.job import Job
from plugtune.inference.reading import Reading


def new_id(kind: str) -> str:
    """A fresh id."""
    return f"{kind}-{uuid.uuid4().hex}"


def envelope(kind: str, name: str, model: str) -> dict[str, Any]:
    """What every part of a response repeats."""
    return {"id": new_id(kind), "object": name, "created": int(time.time()), "model": model}


def usage(jobs: Sequence[Job], prompts: int | None = None) -> dict[str, int]:
    """Tokens of prompts (each counted once) and answers."""
    asked = len(jobs[0].row.prompt) if prompts is None else prompts
    told = sum(len(job.row.ids) for job in jobs)
    return {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}


def event(body: dict[str, Any] | str) -> str:
    """One server-sent event."""
    return f"data: {body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)}\n\n"


def tool_calls(reading: Reading, *, streamed: bool = False) -> list[dict[str, Any]]:
    """Calls with ids; in a stream each names its place."""
    found: list[dict[str, Any]] = []
    for place, call in enumerate(reading.calls):
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        item = {"id": new_id("call"), "type": "function", "function": {"name": call.name, "arguments": arguments}}
        found.append({"index": place, **item} if streamed else item)
    return found


def message(reading: Reading) -> dict[str, Any]:
    """The answer of a chat; thoughts stand apart from what is said."""
    body: dict[str, Any] = {"role": "assistant", "content": reading.content, "refusal": None}
    if reading.reasoning:
        body["reasoning_content"] = reading.reasoning
    if reading.calls:
        body["tool_calls"] = tool_calls(reading)
        body["content"] = reading.content or None
    return body


def finish(reason: str, called: bool = False) -> str:
    """The reason as OpenAI names it."""
    return "tool_calls" if called else "length" if reason == "length" else "stop"


def chat_logprobs(row: Row, tokenizer: Any, start: int, end: int) -> dict[str, Any]:
    """Log-probabilities of the tokens from `start` to `end` of an answer."""
    content = []
    for place in range(start, end):
        top = [_token(tokenizer, token, value) for token, value in row.top[place]]
        content.append({**_token(tokenizer, row.ids[place], row.logprobs[place]), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _token(tokenizer: Any, token: int, value: float) -> dict[str, Any]:
    text = token_text(tokenizer, token)
    return {"token": text, "logprob": value, "bytes": list(text.encode("utf-8"))}


def token_text(tokenizer: Any, token: int) -> str:
    """One token as text."""
    return str(tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))


def text_logprobs(row: Row, tokenizer: Any, start: int, end: int, offset: int) -> dict[str, Any]:
    """Log-probabilities in the shape of plain completions; `offset` is where the first token's text begins."""
    tokens = [token_text(tokenizer, token) for token in row.ids[start:end]]
    offsets = []
    for text in tokens:
        offsets.append(offset)
        offset += len(text)
    tops = [{token_text(tokenizer, token): value for token, value in top} for top in row.top[start:end]]
    return {"tokens": tokens, "token_logprobs": row.logprobs[start:end], "top_logprobs": tops, "text_offset": offsets}
