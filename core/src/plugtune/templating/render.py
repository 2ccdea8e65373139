"""From a conversation to pieces, turn by turn. Knows no tokenizer; the pieces are the units that are tokenized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugtune.data.records import Conversation, Message, RowError
from plugtune.templating.model import ChatTemplate, Piece, Pieces, Segment, Special, Token
from plugtune.templating.tools import STYLES


@dataclass(frozen=True, slots=True)
class Turn:
    """What stands before an answer, the answer (empty when it is to be generated), and whether it is trained on."""

    prompt: list[Piece]
    answer: list[Piece]
    train: bool = True


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Choices of a run that change what is rendered."""

    default_system: str | None = None
    enable_thinking: bool = True
    tool_style: str = ""


def render(
    template: ChatTemplate, conversation: Conversation, options: RenderOptions, *, generation: bool = False
) -> list[Turn]:
    """Turns of a conversation; with `generation` the last one has no answer.

    Raises:
        RowError: the conversation cannot be written in this template (order of roles, tools without a style).
    """
    messages = list(conversation.messages)
    system = messages.pop(0).content if messages and messages[0].role == "system" else None
    if system is None:
        system = template.default_system if options.default_system is None else options.default_system
    style_name = options.tool_style or template.tool_style
    if conversation.tools:
        system += _style(style_name, template.name).describe(conversation.tools)
    turns: list[Turn] = []
    pending: list[Piece] = list(template.prefix)
    lead = ""
    if system and template.system_in_user:
        lead = "".join(piece for piece in fill(template.system, system) if isinstance(piece, str))
    elif system:
        pending += fill(template.system, system)
    last_answer = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
    asked = False
    results: list[str] = []
    for index, message in enumerate(messages):
        if message.role == "assistant":
            if not asked:
                raise RowError("an answer stands where a question is expected", field="messages")
            last = index == last_answer and not generation
            given, answer = _answer(template, message, options, style_name, last=last)
            # An earlier answer that lost its thoughts is context: asked the same at inference, the model would think.
            context_only = template.reasoning == "strip-history" and index != last_answer
            turns.append(Turn(pending + given, answer, message.train and not context_only))
            pending, asked = [], False
        elif message.role == "tool":
            results.append(message.content)
            if index + 1 == len(messages) or messages[index + 1].role != "tool":
                joined = template.tool_separator.join(results)
                pending += fill(template.tool or template.user, joined, index // 2)
                results = []
            asked = True
        elif message.role == "user":
            pending += fill(template.user, lead + message.content, index // 2)
            asked, lead = True, ""
        else:
            raise RowError("a system message stands after the first place", field="messages")
    if generation:
        if not asked:
            raise RowError("the conversation ends with an answer; there is nothing to answer", field="messages")
        turns.append(Turn(pending + _thinking_off(template, options), []))
    elif asked:
        raise RowError("the last message must be an answer", field="messages")
    return turns


def _style(name: str, template: str):  # type: ignore[no-untyped-def]
    if name not in STYLES:
        raise RowError(
            f"template {template!r} has no way to write tools", field="tools", fix="choose one with --tool_format"
        )
    return STYLES[name]


def _answer(
    template: ChatTemplate, message: Message, options: RenderOptions, style: str, *, last: bool
) -> tuple[list[Piece], list[Piece]]:
    """What the answer adds to its prompt (empty thoughts that are given, not learnt), and the answer itself."""
    content = message.content
    if message.tool_calls:
        written = _style(style, template.name).calls(message.tool_calls)
        content = f"{content}\n{written}" if content else written
    thoughts, content = _thoughts(template, content, message.reasoning, options, last=last)
    pieces = template.tool_call if message.tool_calls and template.tool_call else template.assistant
    answer = fill(pieces, content)
    # Empty thoughts are a piece of their own: at inference they are either given or generated as such.
    return ([], thoughts + answer) if options.enable_thinking else (thoughts, answer)


def _thoughts(
    template: ChatTemplate, content: str, reasoning: str | None, options: RenderOptions, *, last: bool
) -> tuple[list[Piece], str]:
    """Empty thoughts to put before an answer without any, and the answer with or without its own."""
    if template.thinking is None:
        return [], content
    opening, closing = template.thinking
    if reasoning:
        content = f"{opening}{reasoning}{closing}{content}"
    if template.reasoning != "strip-history":
        return [], content
    has_thoughts = opening.strip() in content and closing.strip() in content
    if has_thoughts and last and options.enable_thinking:
        return [], content
    if has_thoughts:
        content = content.split(closing.strip(), 1)[1].lstrip("\n")
    return [opening + closing] if last else [], content


def _thinking_off(template: ChatTemplate, options: RenderOptions) -> list[Piece]:
    if template.thinking is None or template.reasoning != "strip-history" or options.enable_thinking:
        return []
    return ["".join(template.thinking)]


def fill(pieces: Pieces, content: str, index: int = 0) -> list[Piece]:
    """Pieces with the message put in."""
    return [
        piece.replace("{{content}}", content).replace("{{idx}}", str(index)) if isinstance(piece, str) else piece
        for piece in pieces
    ]


def segments(template: ChatTemplate, turns: Sequence[Turn]) -> list[Segment]:
    """All pieces in order, each with whether it is trained on; a closing end-of-sequence is trained on."""
    result = []
    for turn in turns:
        result += [Segment(piece) for piece in turn.prompt]
        result += [Segment(piece, turn.train) for piece in turn.answer]
    if template.eos == "once" and turns and turns[-1].answer:
        result.append(Segment(Special("eos"), True))
    return result


def written(piece: Piece, bos: str, eos: str) -> str:
    """A piece as text, special tokens spelled out."""
    if isinstance(piece, str):
        return piece
    if isinstance(piece, Token):
        return piece.text
    return bos if piece.name == "bos" else eos
