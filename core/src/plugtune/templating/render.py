"""From a conversation to pieces, turn by turn. Knows no tokenizer; the pieces are the units that are tokenized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugtune.data.records import Conversation, Message, RowError
from plugtune.templating.model import ChatTemplate, Piece, Pieces, Segment, Special, Token
from plugtune.templating.tools import STYLES, ToolStyle


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer stands: behind the last question (`current`), and at the end of the conversation (`final`)."""

    current: bool
    final: bool


def render(
    template: ChatTemplate, conversation: Conversation, options: RenderOptions, *, generation: bool = False
) -> list[Turn]:
    """Turns of a conversation; with `generation` the last one has no answer.

    Raises:
        RowError: the conversation cannot be written in this template (order of roles, tools without a style).
    """
    messages = list(conversation.messages)
    system = _system(template, messages, conversation.tools, options)
    turns: list[Turn] = []
    pending: list[Piece] = list(template.prefix)
    lead = ""
    if system and template.system_in_user:
        lead = "".join(piece for piece in fill(template.system, system) if isinstance(piece, str))
    elif system:
        pending += fill(template.system, system)
    last_answer = -1 if generation else _last(messages, "assistant")
    last_question = _last(messages, "user")
    asked = False
    results: list[str] = []
    for index, message in enumerate(messages):
        following = messages[index + 1].role if index + 1 < len(messages) else ("assistant" if generation else "")
        if message.role == "assistant":
            if not asked:
                raise RowError("an answer stands where a question is expected", field="messages")
            place = Place(current=index > last_question, final=index == last_answer)
            turns.append(_answer(template, message, options, pending, place))
            pending, asked = [], False
        elif message.role == "tool":
            results.append(message.content)
            if following != "tool":
                pieces = asking(template, template.tool or template.user, opens=following == "assistant")
                pending += fill(pieces, template.tool_separator.join(results), index // 2)
                results = []
            asked = True
        elif message.role == "user":
            pieces = asking(template, template.user, opens=following == "assistant")
            pending += fill(pieces, lead + message.content, index // 2)
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


def _system(
    template: ChatTemplate, messages: list[Message], tools: Sequence[Mapping[str, Any]], options: RenderOptions
) -> str:
    """The system prompt with the tools described behind it; takes its message off the list."""
    if messages and messages[0].role == "system":
        system = messages.pop(0).content
    else:
        system = template.default_system if options.default_system is None else options.default_system
    return system + _style(template, options).describe(tools) if tools else system


def _last(messages: Sequence[Message], role: str) -> int:
    return max((index for index, message in enumerate(messages) if message.role == role), default=-1)


def asking(template: ChatTemplate, pieces: Pieces, *, opens: bool) -> Pieces:
    """Pieces of a question, without what opens an answer where no answer follows."""
    if opens or not template.opener or not pieces or not isinstance(pieces[-1], str):
        return pieces
    return (*pieces[:-1], pieces[-1].removesuffix(template.opener))


def style_name(template: ChatTemplate, options: RenderOptions) -> str:
    """The tool style of a run: what was asked for, else the template's own."""
    return options.tool_style or template.tool_style


def _style(template: ChatTemplate, options: RenderOptions) -> ToolStyle:
    style = STYLES.get(style_name(template, options))
    if style is None:
        raise RowError(
            f"template {template.name!r} has no way to write tools", field="tools", fix="choose one with --tool_format"
        )
    return style


def _answer(
    template: ChatTemplate, message: Message, options: RenderOptions, pending: list[Piece], place: Place
) -> Turn:
    """The answer behind what is pending; empty thoughts are given, not learnt, to a model that shall not think."""
    content = message.content
    if message.tool_calls:
        written = _style(template, options).calls(message.tool_calls)
        content = f"{content}\n{written}" if content else written
    if template.thinking is not None and message.reasoning:
        content = message.reasoning.join(template.thinking) + content
    pieces = template.tool_call if message.tool_calls and template.tool_call else template.assistant
    if template.thinking is None or template.reasoning != "strip-history":
        return Turn(pending, fill(pieces, content), message.train)
    thoughts, content, kept = _thoughts(template, template.thinking, content, options, place)
    answer = fill(pieces, content)
    # An answer that lost its thoughts is context: asked the same at inference, the model would think.
    train = message.train and (place.final or kept)
    # Empty thoughts are a piece of their own: at inference they are either given or generated as such.
    if options.enable_thinking:
        return Turn(pending, thoughts + answer, train)
    return Turn(pending + thoughts, answer, train)


def _thoughts(
    template: ChatTemplate, words: tuple[str, str], content: str, options: RenderOptions, place: Place
) -> tuple[list[Piece], str, bool]:
    """Empty thoughts to put before an answer without any, the answer, and whether it keeps thoughts of its own.

    Answers to the last question keep them: those that call tools on the way to the final answer, too.
    """
    opening, closing = words
    has_thoughts = opening.strip() in content and closing.strip() in content
    if has_thoughts and place.current and options.enable_thinking:
        return [], content, True
    if has_thoughts:
        content = content.split(closing.strip(), 1)[1].lstrip("\n")
    return [template.empty_thoughts] if place.final else [], content, False


def _thinking_off(template: ChatTemplate, options: RenderOptions) -> list[Piece]:
    if template.thinking is None or template.reasoning != "strip-history" or options.enable_thinking:
        return []
    return [template.empty_thoughts]


def fill(pieces: Pieces, content: str, index: int = 0) -> list[Piece]:
    """Pieces with the message put in."""
    return [
        piece.replace("{{idx}}", str(index)).replace("{{round}}", str(index + 1)).replace("{{content}}", content)
        if isinstance(piece, str)
        else piece
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
