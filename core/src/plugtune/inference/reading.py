"""What an answer holds: thoughts, what is said, and tool calls, by the template that wrote the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plugtune.data.records import Conversation, Message, RowError, ToolCall
from plugtune.inference.pieces import _may_begin
from plugtune.templating.auto import TokenizerTemplate
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.render import style_name
from plugtune.templating.tools import STYLES, ToolStyle

THINK = ("<think>", "</think>")
"""The words that most reasoning models write around their thoughts."""


def thinking_words(template: Any) -> tuple[str, str] | None:
    """Words around thoughts, without the line ends that go with them; `None` when the template has none."""
    if isinstance(template, BoundTemplate):
        words = template.template.thinking
        return (words[0].strip(), words[1].strip()) if words else None
    jinja = str(getattr(getattr(template, "tokenizer", None), "chat_template", "") or "")
    return THINK if all(word in jinja for word in THINK) else None


def tool_style_of(template: Any) -> ToolStyle | None:
    """The style in which a template's answers call tools.

    A tokenizer's own chat template is asked to write a call; the style that reads it back is its style.
    """
    if isinstance(template, BoundTemplate):
        return STYLES.get(style_name(template.template, template.options))
    if not isinstance(template, TokenizerTemplate):
        return None
    call = ToolCall("look_up", {"place": "Paris"})
    properties = {"place": {"type": "string", "description": "A place."}}
    function = {
        "name": "look_up", "description": "Looks up a place.",
        "parameters": {"type": "object", "properties": properties, "required": ["place"]},
    }  # fmt: skip
    asked = (Message("user", "Where?"), Message("assistant", "", (call,)))
    try:
        text, spans = template.spans(Conversation(asked, ({"type": "function", "function": function},)))
    except RowError:
        return None
    answer = text[spans[-1].start : spans[-1].end]
    for word in template.stop:
        answer = answer.replace(word, "")
    return next((style for style in STYLES.values() if style.parse(answer.strip())[1] == [call]), None)


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer taken apart."""

    content: str
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()


@dataclass(slots=True)
class Thoughts:
    """Tells thoughts from what is said while an answer grows.

    Attributes:
        words: opening and closing word; `None` when the model does not reason.
        inside: whether the prompt has opened the thoughts already.
    """

    words: tuple[str, str] | None
    inside: bool = False
    _held: str = field(default="", init=False)
    _begun: bool = field(default=False, init=False)
    _trim: bool = field(default=False, init=False)
    _lead: bool = field(default=True, init=False)

    def feed(self, text: str, *, last: bool) -> tuple[str, str]:
        """(thoughts, what is said) of the next piece of the answer."""
        if self.words is None:
            return "", text
        self._held += text
        if not self._begun and not self._begin(last):
            return "", ""
        thought = ""
        if self.inside:
            thought = self._think(last)
            if self.inside:
                return thought, ""
        said, self._held = self._held, ""
        if self._trim:
            said = said.lstrip("\n")
            self._trim = not said
        return thought, said

    def _begin(self, last: bool) -> bool:
        """Whether it is certain how the answer begins."""
        assert self.words is not None
        start = self._held.lstrip()
        if start.startswith(self.words[0]):
            self._held = start[len(self.words[0]) :].lstrip("\n")
            self.inside = self._begun = True
        elif last or not self.words[0].startswith(start):
            self._begun = True
        return self._begun

    def _think(self, last: bool) -> str:
        assert self.words is not None
        if self._lead:
            self._held = self._held.lstrip("\n")
            self._lead = not self._held
        place = self._held.find(self.words[1])
        if place >= 0:
            thought = self._held[:place].rstrip("\n")
            self._held = self._held[place + len(self.words[1]) :]
            self.inside, self._trim = False, True
            return thought
        # Line ends before the closing word are not part of the thoughts, so they wait with it.
        kept = 0 if last else _may_begin(self._held, (self.words[1],))
        size = len(self._held) - kept
        if not last:
            size = len(self._held[:size].rstrip("\n"))
        thought, self._held = self._held[:size], self._held[size:]
        return thought


@dataclass(slots=True)
class AnswerReader:
    """Reads answers of one template."""

    template: Any
    words: tuple[str, str] | None = field(init=False)
    _style: ToolStyle | None = field(default=None, init=False)
    _asked: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.words = thinking_words(self.template)

    @property
    def style(self) -> ToolStyle | None:
        """How tools are called; found out once."""
        if not self._asked:
            self._style, self._asked = tool_style_of(self.template), True
        return self._style

    def shows_specials(self, tools: Sequence[Mapping[str, Any]]) -> bool:
        """Whether words that mark thoughts or calls may be special tokens, which texts usually leave out."""
        special = set(getattr(self.template.tokenizer, "all_special_tokens", ()))
        return bool(tools) or bool(self.words and special & set(self.words))

    def thoughts(self, prompt: Sequence[int]) -> Thoughts:
        """A splitter for an answer to this prompt."""
        if self.words is None:
            return Thoughts(None)
        tail = str(self.template.tokenizer.decode(list(prompt[-16:]), skip_special_tokens=False)).rstrip()
        return Thoughts(self.words, inside=tail.endswith(self.words[0]))

    def read(self, text: str, prompt: Sequence[int] = (), *, tools: bool = False) -> Reading:
        """A whole answer taken apart; calls are looked for when tools were offered."""
        reasoning, said = self.thoughts(prompt).feed(text, last=True)
        return self.read_said(said, reasoning, tools=tools)

    def read_said(self, said: str, reasoning: str = "", *, tools: bool = False) -> Reading:
        """What is said, with its tool calls taken out."""
        if tools and self.style is not None:
            said, calls = self.style.parse(said)
            return Reading(said.strip() if calls else said, reasoning, tuple(calls))
        return Reading(said, reasoning)
