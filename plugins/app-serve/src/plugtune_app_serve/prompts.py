"""From a request to jobs: messages to a prompt, settings to `Sampling`, and every limit that is checked before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plugtune import Conversation, PlugtuneError, RowError
from plugtune.inference.sampling import Sampling
from plugtune.templating.openai import conversation_of

from plugtune_app_serve.errors import ApiError
from plugtune_app_serve.schemas import ChatRequest, Sampled


def conversation(request: ChatRequest, tools: Sequence[Mapping[str, Any]]) -> Conversation:
    """The messages as plugtune reads them.

    Raises:
        ApiError: a message is wrong.
    """
    messages = [_plain(message, number) for number, message in enumerate(request.messages)]
    try:
        return conversation_of({"messages": messages, "tools": list(tools)})
    except PlugtuneError as error:
        raise ApiError(400, str(error).replace("\n    ", " "), param="messages") from error


def _plain(message: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A message with text content: parts are joined, `developer` is the newer name of `system`."""
    content = message.get("content")
    where = f"messages[{number}].content"
    if isinstance(content, list):
        texts = []
        for part in content:
            if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
                raise ApiError(400, f"content parts of type {kind!r} are not supported: this server reads text",
                               param=where)  # fmt: skip
            texts.append(part["text"])
        content = "".join(texts)
    elif content is not None and not isinstance(content, str):
        raise ApiError(400, "content must be a string or a list of text parts", param=where)
    role = "system" if message.get("role") == "developer" else message.get("role")
    return {**message, "role": role, "content": content or ""}


def tools_of(request: ChatRequest) -> list[dict[str, Any]]:
    """The tools that the model is shown."""
    if request.tool_choice == "none" or not request.tools:
        return []
    return [tool.model_dump(exclude_none=True) for tool in request.tools]


def encode(template: Any, talk: Conversation) -> list[int]:
    """The prompt in tokens.

    Raises:
        ApiError: the template refuses the conversation.
    """
    try:
        ids: list[int] = template.encode_prompt(talk)
    except (RowError, PlugtuneError) as error:
        raise ApiError(400, f"the chat template refuses these messages: {error}", param="messages") from error
    return ids


def stops_of(request: Sampled) -> tuple[str, ...]:
    """Stop texts.

    Raises:
        ApiError: too many, or an empty one.
    """
    words = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if len(words) > 16 or not all(words):
        raise ApiError(400, "stop takes up to 16 texts, none of them empty", param="stop")
    return tuple(words)


def sampling_of(request: Sampled, defaults: Any, *, logprobs: int | None, room: int, most: int) -> Sampling:
    """The settings of a request over those the server was started with.

    Args:
        request: what the client sent.
        defaults: the server's generation options.
        logprobs: how many likeliest tokens are told, or `None`.
        room: tokens that the model's context leaves after the prompt; 0 when it has no bound.
        most: most tokens that an answer may ask for.

    Raises:
        ApiError: the answer could be longer than the context or the server allows.
    """
    asked = getattr(request, "max_completion_tokens", None) or request.max_tokens
    if asked and asked > most:
        raise ApiError(400, f"max_tokens is at most {most} on this server", param="max_tokens")
    length = asked or min(defaults.max_new_tokens, most, room or most)
    if request.temperature is not None:
        temperature = request.temperature
    else:
        temperature = defaults.temperature if defaults.do_sample else 0.0
    if request.do_sample is False:
        temperature = 0.0
    changes: dict[str, Any] = {
        "top_p": request.top_p, "repetition_penalty": request.repetition_penalty,
        "presence_penalty": request.presence_penalty, "frequency_penalty": request.frequency_penalty,
        "top_k": None if request.top_k is None else max(request.top_k, 0),
        "seed": request.seed, "ignore_eos": request.ignore_eos,
    }  # fmt: skip
    start = Sampling.of(
        defaults, max_new_tokens=length, temperature=temperature, stop=stops_of(request), logprobs=logprobs,
        logit_bias=_bias(request.logit_bias),
    )  # fmt: skip
    return replace(start, **{name: value for name, value in changes.items() if value is not None})


def _bias(given: Mapping[str, float] | None) -> dict[int, float]:
    try:
        return {int(token): value for token, value in (given or {}).items()}
    except ValueError:
        raise ApiError(400, "logit_bias has token ids as its keys", param="logit_bias") from None


def room_for(prompt: Sequence[int], context: int, asked: int | None, *, param: str) -> int:
    """Tokens that are left for the answer; 0 when the model has no bound.

    Raises:
        ApiError: the prompt, or the prompt and the answer asked for, do not fit.
    """
    if not prompt:
        raise ApiError(400, "the prompt is empty", param=param)
    if not context:
        return 0
    if len(prompt) + (asked or 1) > context:
        more = f" and {asked} tokens of the answer" if asked else ""
        raise ApiError(
            400, f"This model's context is {context} tokens, and the request has {len(prompt)} tokens of the prompt"
            f"{more}. Shorten one of them.", param=param, code="context_length_exceeded",
        )  # fmt: skip
    return context - len(prompt)
