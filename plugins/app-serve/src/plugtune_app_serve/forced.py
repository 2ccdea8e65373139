"""Answers of a form that the client asked for: a call of a tool (`tool_choice`), or JSON (`response_format`).

The words around a call are those of the template's own tool style, token by token; the arguments between them are held
to the tool's JSON schema by llguidance while they are drawn. So a forced call can be read back whatever the model is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from plugtune import RowError
from plugtune.data.records import ToolCall
from plugtune.inference.guide import Part, Parts, Texts
from plugtune.inference.reading import AnswerReader

from plugtune_app_serve.errors import ApiError
from plugtune_app_serve.schemas import ChatRequest

MARK = "plugtune-arguments"
"""Stands for the arguments while the words around them are found out."""

SPACING = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""How JSON is spaced: as models are trained on it, and never without end."""


class Json:
    """A part that is JSON of a schema."""

    def __init__(self, tokens: Any, grammar: str, size: int) -> None:
        from llguidance import LLMatcher

        self.matcher, self.size = LLMatcher(tokens, grammar), size

    def mask(self) -> torch.Tensor | None:
        """See `plugtune.inference.guide.Part`."""
        if self.matcher.is_stopped():
            return None
        bits = torch.frombuffer(bytearray(self.matcher.compute_bitmask()), dtype=torch.uint8)
        return (bits[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten()[: self.size].bool()

    def take(self, token: int) -> None:
        """See `plugtune.inference.guide.Part`."""
        self.matcher.consume_token(token)


class Calls(Parts):
    """A guide to one call of one of several tools.

    Args:
        forms: tokens before the arguments → what follows them.
    """

    def __init__(self, forms: Mapping[tuple[int, ...], Any], ends: frozenset[int], size: int) -> None:
        super().__init__([Texts([list(form) for form in forms], size)], ends)
        self.forms = dict(forms)

    def after(self, part: Part) -> Sequence[Part]:
        """The arguments and the end of the tool that was chosen."""
        follows = self.forms.pop(tuple(part.chosen), None) if isinstance(part, Texts) else None
        made: Sequence[Part] = follows() if follows else ()
        self.forms = {} if made else self.forms
        return made


@dataclass(slots=True)
class Forms:
    """Makes guides for one tokenizer; what llguidance knows about it is found out once.

    Attributes:
        reader: reads answers of the template, and knows its tool style.
        size: of the vocabulary.
        ends: tokens that end an answer.
    """

    tokenizer: Any
    reader: AnswerReader
    size: int
    ends: frozenset[int]
    _tokens: Any = field(default=None, init=False)

    def guide(self, request: ChatRequest, tools: Sequence[Mapping[str, Any]], prompt: Sequence[int]) -> Any:
        """A function that makes the guide of one answer; `None` when nothing is asked for.

        Raises:
            ApiError: it cannot be done: no such tool, a style whose calls hold no JSON, a schema that is none.
        """
        wanted = _wanted(request, tools)
        if wanted:
            forms = {self._before(tool, prompt): self._behind(tool) for tool in wanted}
            return lambda: Calls(forms, self.ends, self.size)
        schema = _schema_of(request.response_format)
        if schema is None:
            return None
        opening = self._ids(self._opening(prompt))
        grammar = self._grammar(schema, "response_format")

        def made() -> Parts:
            first = [Texts([opening], self.size)] if opening else []
            return Parts([*first, Json(self._known(), grammar, self.size)], self.ends)

        return made

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False)) if text else []

    def _opening(self, prompt: Sequence[int]) -> str:
        """What ends thoughts that the prompt has opened: a forced answer has none."""
        return f"\n{self.reader.words[1]}\n\n" if self.reader.words and self.reader.thoughts(prompt).inside else ""

    def _around(self, tool: Mapping[str, Any]) -> tuple[str, str]:
        """What the template's style writes before and behind the arguments of a call."""
        style, name = self.reader.style, str(tool["function"]["name"])
        if style is None:
            raise ApiError(400, "this model's template calls no tools", param="tool_choice")
        try:
            text = style.calls([ToolCall(name, {MARK: 1})])
        except RowError as error:
            raise ApiError(400, f"this model's template cannot call {name}: {error}", param="tool_choice") from error
        before, found, behind = text.partition(json.dumps({MARK: 1}))
        if not found or MARK in behind:
            raise ApiError(
                400, "a call cannot be forced: this model's template writes arguments in another form than JSON",
                param="tool_choice",
            )  # fmt: skip
        return before, behind

    def _before(self, tool: Mapping[str, Any], prompt: Sequence[int]) -> tuple[int, ...]:
        return tuple(self._ids(self._opening(prompt) + self._around(tool)[0].rstrip(" ")))

    def _behind(self, tool: Mapping[str, Any]) -> Any:
        """A function that makes the parts from the arguments on."""
        before, behind = self._around(tool)
        schema = tool["function"].get("parameters") or {"type": "object"}
        space = len(before) - len(before.rstrip(" "))
        grammar = self._grammar(schema, "tools", lead=" " * space)
        end = self._ids(behind)
        return lambda: [Json(self._known(), grammar, self.size), *([Texts([end], self.size)] if end else [])]

    def _known(self) -> Any:
        if self._tokens is None:
            import llguidance.hf

            try:
                end = next(iter(sorted(self.ends)), None)
                self._tokens = llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=self.size, eos_token=end)
            except (ValueError, TypeError, AttributeError) as error:
                raise ApiError(
                    400, f"answers of this model cannot be held to a form: {error}", param="tool_choice"
                ) from error
        return self._tokens

    def _grammar(self, schema: Mapping[str, Any], param: str, lead: str = "") -> str:
        """llguidance's grammar of a schema, behind a few spaces that may be left out."""
        from llguidance import LLMatcher

        text = json.dumps({**schema, "x-guidance": SPACING})
        start = f"{json.dumps(lead)}? value" if lead else "value"
        grammar = LLMatcher.grammar_from_lark(f"start: {start}\nvalue: %json {text}")
        wrong = LLMatcher.validate_grammar(grammar, self._known())
        if wrong:
            raise ApiError(400, f"this JSON schema cannot be held to: {_reason(wrong)}", param=param)
        return str(grammar)


def _reason(text: str) -> str:
    """The reason in llguidance's report of an error, without the place in its own grammar."""
    return text.strip().splitlines()[0].rpartition("JSON schema: ")[2]


def _wanted(request: ChatRequest, tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tools of which one must be called.

    Raises:
        ApiError: the choice is none, or names a tool that is not offered.
    """
    choice = request.tool_choice
    if choice in (None, "none", "auto"):
        return []
    if not tools:
        raise ApiError(400, "tool_choice forces a call and tools offers none", param="tool_choice")
    if choice == "required":
        return list(tools)
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not name:
        raise ApiError(
            400, "tool_choice is 'none', 'auto', 'required' or {'type': 'function', 'function': {'name': ...}}",
            param="tool_choice",
        )  # fmt: skip
    chosen = [tool for tool in tools if tool["function"]["name"] == name]
    if not chosen:
        raise ApiError(400, f"tool_choice names {name!r}, which is not among the tools", param="tool_choice")
    return chosen[:1]


def _schema_of(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The JSON schema that a `response_format` asks for; `None` for text.

    Raises:
        ApiError: it is of no known form.
    """
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    given = (wanted or {}).get("json_schema")
    schema = given.get("schema") if kind == "json_schema" and isinstance(given, Mapping) else None
    if not isinstance(schema, Mapping):
        raise ApiError(
            400, "response_format is text, json_object, or json_schema with a schema", param="response_format"
        )
    return schema
