"""The chat template as data: pieces of text and special tokens for each role, and what stops an answer.

Knows nothing of tokenizers or rows. `templating.load` reads and checks YAML files into these classes,
`templating.render` applies them, `templating.bound` joins one to a tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Token:
    """A piece that is one entry of the vocabulary, looked up by its text and never split."""

    text: str


@dataclass(frozen=True, slots=True)
class Special:
    """A piece that stands for the tokenizer's own beginning or end of sequence."""

    name: Literal["bos", "eos"]


Piece = str | Token | Special
"""A text piece may hold `{{content}}`; each piece is tokenized by itself, which is what inference sees too."""

Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class TemplateExample:
    """A golden example: a conversation in the OpenAI shape and the exact text that it renders to.

    Attributes:
        messages: OpenAI-shaped messages.
        text: the whole text, with special tokens written out.
        tools: OpenAI-shaped tools.
        trained: the parts of `text` that are trained on, in order; empty when the example does not fix them.
        options: `enable_thinking` and the like.
    """

    messages: tuple[Mapping[str, Any], ...]
    text: str
    tools: tuple[Mapping[str, Any], ...] = ()
    trained: tuple[str, ...] = ()
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """How a conversation is written for a model.

    Attributes:
        name: unique among templates.
        summary: one line for listings.
        prefix: pieces before everything else.
        system: pieces of the system message (`{{content}}`).
        user: pieces of a user message, up to and including what opens the answer. `{{idx}}` counts rounds from 0,
            `{{round}}` from 1.
        assistant: pieces of an answer (`{{content}}`), trained on.
        tool: pieces of a tool's result, up to and including what opens the next answer; `user` when empty.
        opener: the end of the `user` and `tool` pieces that opens an answer; left out where no answer follows. Empty
            when the format has none, or when it is not told apart.
        tool_separator: what stands between the results of several calls, which share one `tool` message.
        tool_call: pieces of an answer that calls tools (`{{content}}` holds the calls in `tool_style`);
            `assistant` when empty.
        tool_style: name of the way in which tools are described and calls are written (`templating.tools`); empty
            when it has none.
        system_in_user: the system text is put inside the first user message instead of before it (LLaMA 2's way).
        default_system: used when a row names no system prompt.
        stop: words that end an answer, besides the end-of-sequence token.
        eos: `each` when the assistant pieces close every answer themselves, `once` when the end-of-sequence token is
            added after the last answer only.
        replace_eos: the first stop word becomes the tokenizer's end-of-sequence token.
        thinking: opening and closing words of reasoning, when the model reasons.
        no_thoughts: what a model writes that does not think; the opening and closing words when left out.
        reasoning: how reasoning is treated (`none`, `keep`, `strip-history`): with `strip-history` answers to
            earlier questions lose their thoughts and a last answer without any gets empty thoughts.
        model_types: transformers model types for which this is the usual template; used for mismatch warnings.
        examples: golden examples, checked by `plugtune template check` and the conformance kit.
        source: where the format is documented.
    """

    kind: ClassVar[str] = "template"

    name: str
    summary: str = ""
    prefix: Pieces = ()
    system: Pieces = ("{{content}}",)
    user: Pieces = ("{{content}}",)
    assistant: Pieces = ("{{content}}", Special("eos"))
    tool: Pieces = ()
    opener: str = ""
    tool_separator: str = "\n"
    tool_call: Pieces = ()
    tool_style: str = "react"
    system_in_user: bool = False
    default_system: str = ""
    stop: tuple[str, ...] = ()
    eos: Literal["each", "once"] = "each"
    replace_eos: bool = False
    thinking: tuple[str, str] | None = None
    no_thoughts: str | None = None
    reasoning: Literal["none", "keep", "strip-history"] = "none"
    model_types: tuple[str, ...] = ()
    examples: tuple[TemplateExample, ...] = ()
    source: str = ""

    @property
    def empty_thoughts(self) -> str:
        """What stands for thoughts that are not there; empty when the model does not reason."""
        return "".join(self.thinking or ()) if self.no_thoughts is None else self.no_thoughts


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered conversation: text, or one special token, and whether it is trained on."""

    piece: Piece
    train: bool = False
