"""Where a tokenizer's own chat template writes the answers of a conversation.

Two ways: a template may mark answers itself (`{% generation %}` blocks); else prefixes are rendered: what it writes for
the messages before an answer (with its generation prompt) must begin what it writes for the messages with it. A
template that rewrites history (drops earlier thoughts, say) fails that for earlier answers; they stay as context,
untrained.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from plugtune.data.records import Conversation, RowError
from plugtune.templating.tools.style import function_of, json_text

if TYPE_CHECKING:
    from plugtune.templating.auto import TokenizerTemplate

MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Span(NamedTuple):
    """An answer from one character of the whole text to another, and whether it is trained on."""

    start: int
    end: int
    train: bool


def refuse_left_out(conversation: Conversation, whole: str) -> None:
    """Many templates know nothing of tools and say nothing when they leave them out: empty answers would be learnt.

    Raises:
        RowError: a tool that is offered or called does not stand in the text.
    """
    offered = [str(function_of(tool).get("name", "")) for tool in conversation.tools]
    called = [call.name for message in conversation.messages for call in message.tool_calls]
    for place, names in (("tools", offered), ("messages", called)):
        for name in names:
            if name not in whole and json_text(name)[1:-1] not in whole and json.dumps(name)[1:-1] not in whole:
                raise RowError(
                    f"the tokenizer's own chat template leaves the tool {name!r} out", field=place,
                    fix="name a template that writes tools (--template), or leave the tools out of the row",
                )  # fmt: skip


def marks_answers(tokenizer: Any, conversation: Conversation) -> bool:
    """Whether the template that writes this conversation marks answers itself."""
    tools = [dict(tool) for tool in conversation.tools] or None
    return MARK.search(tokenizer.get_chat_template(tools=tools)) is not None


def marked_answers(
    template: TokenizerTemplate, messages: list[dict[str, Any]], conversation: Conversation
) -> list[Span] | None:
    """The answers that the template marks; `None` when the marks are not one for each answer.

    The masks are those of `apply_chat_template(..., return_assistant_tokens_mask=True)`, which needs a fast tokenizer.
    """
    if not getattr(template.tokenizer, "is_fast", False):
        return None
    marked = template.render(
        messages, conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True,
        tokenizer_kwargs={"return_offsets_mapping": True},
    )  # fmt: skip
    answers = [message for message in conversation.messages if message.role == "assistant"]
    runs = _runs(marked["assistant_masks"], marked["offset_mapping"])
    if len(runs) != len(answers):
        return None
    return [Span(start, end, answer.train) for (start, end), answer in zip(runs, answers, strict=True)]


def _runs(mask: list[int], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Character bounds of each run of marked tokens."""
    runs: list[tuple[int, int]] = []
    before = 0
    for marked, (start, end) in zip(mask, offsets, strict=True):
        if marked and before:
            runs[-1] = (runs[-1][0], end)
        elif marked:
            runs.append((start, end))
        before = marked
    return runs


def prefix_answers(
    template: TokenizerTemplate, messages: list[dict[str, Any]], conversation: Conversation, whole: str
) -> list[Span]:
    """The answers that prefixes show."""
    spans: list[Span] = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = str(template.render(messages[:index], conversation, generation=True))
        last = index == len(messages) - 1
        after = whole if last else str(template.render(messages[: index + 1], conversation))
        if after.startswith(before) and whole.startswith(after):
            spans.append(Span(len(before), len(after), conversation.messages[index - len(messages)].train))
    return spans
