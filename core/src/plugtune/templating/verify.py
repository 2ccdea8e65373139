"""Proves that a Jinja chat template gives the token ids that training used, or shows the first difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugtune.data.records import Conversation, Message

if TYPE_CHECKING:
    from plugtune.templating.bound import BoundTemplate


def _chat(*turns: str, system: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = [Message(roles[i % 2], text) for i, text in enumerate(turns)]  # type: ignore[arg-type]
    return Conversation(tuple([Message("system", system)] if system is not None else []) + tuple(messages))


PROBES: tuple[Conversation, ...] = (
    _chat("Hello", "Hi there!"),
    _chat("你好，请介绍一下你自己。", "我是一个助手。", system="你是一个有用的助手。"),
    _chat("What is 2 + 2?", "4", "And 3 + 3?", "It is 6.\n\nShall I go on?"),
    _chat("  leading and trailing  ", "```python\nprint('x')\n```\n", system="Be brief."),
    _chat("emoji 🙂🚀 and\ttabs", "Привет, мир — 100 %", "1", "2", "3", "4"),
)
"""Conversations that a template is tried on: languages, rounds, spaces, code, line ends, with and without system."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first token that differs, with what stands around it on both sides."""

    probe: int
    position: int
    ours: str
    theirs: str
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"probe {self.probe}: {self.note}"
        return (
            f"probe {self.probe}, token {self.position}: the template gives {self.ours!r}, Jinja gives {self.theirs!r}"
        )


def first_difference(
    template: BoundTemplate, jinja: str, probes: tuple[Conversation, ...] = PROBES
) -> Difference | None:
    """`None` when whole conversations and generation prompts agree on every probe."""
    tokenizer = template.tokenizer
    for number, probe in enumerate(probes):
        chat = template.encode([probe])[0]
        if isinstance(chat, Exception):
            return Difference(number, 0, "", "", str(chat))
        whole = [token for prompt, answer in chat.turns for token in prompt + answer] + chat.tail
        asked = Conversation(probe.messages[:-1])
        prompt = template.encode_prompt(asked)
        for ours, conversation, generation in ((whole, probe, False), (prompt, asked, True)):
            theirs = _apply(tokenizer, jinja, conversation, generation, template.options.enable_thinking)
            if isinstance(theirs, str):
                return Difference(number, 0, "", "", theirs)
            if ours != theirs:
                return _difference(tokenizer, number, ours, theirs)
    return None


def _apply(tokenizer: Any, jinja: str, conversation: Conversation, generation: bool, thinking: bool) -> list[int] | str:
    messages = [{"role": m.role, "content": m.content} for m in conversation.messages]
    try:
        text = tokenizer.apply_chat_template(
            messages, chat_template=jinja, tokenize=False, add_generation_prompt=generation, enable_thinking=thinking
        )
    except Exception as error:
        return f"the Jinja template fails: {error}"
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _difference(tokenizer: Any, probe: int, ours: list[int], theirs: list[int]) -> Difference:
    position = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )
    around = slice(max(position - 4, 0), position + 5)
    return Difference(probe, position, tokenizer.decode(ours[around]), tokenizer.decode(theirs[around]))
