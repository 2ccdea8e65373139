"""Proves that a Jinja chat template gives the token ids that training used, or shows the first difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugtune.data.records import Conversation, RowError
from plugtune.templating.openai import message_for_jinja
from plugtune.templating.probes import PROBES, THOUGHT_PROBES, TOOL_PROBES, TOOL_THOUGHT_PROBES
from plugtune.templating.render import style_name
from plugtune.templating.tools import STYLES
from plugtune.templating.tools.style import wrapped

if TYPE_CHECKING:
    from plugtune.templating.bound import BoundTemplate

__all__ = ["PLAIN", "PROBES", "Difference", "first_difference", "probes_of"]

PLAIN = "plain chat"
"""The kind of probe that every template must write."""

Probes = Mapping[str, Sequence[Conversation]]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first token that differs, with what stands around it on both sides.

    Attributes:
        kind: the kind of probe.
        probe: the probe's number within its kind, from 1.
        position: the token's.
        ours: what the template gives around it; `theirs` what Jinja gives.
        note: what happened instead, when there are no tokens to compare.
    """

    kind: str
    probe: int
    position: int
    ours: str
    theirs: str
    note: str = ""

    def __str__(self) -> str:
        where = f"{self.kind}, probe {self.probe}"
        if self.note:
            return f"{where}: {self.note}"
        return f"{where}, token {self.position}: the template gives {self.ours!r}, Jinja gives {self.theirs!r}"


def probes_of(template: BoundTemplate) -> dict[str, Sequence[Conversation]]:
    """The probes that apply to a template, by kind; plain chat first."""
    has_tools = style_name(template.template, template.options) in STYLES
    thinks = template.template.thinking is not None
    kinds = {
        PLAIN: (PROBES, True),
        "tools": (TOOL_PROBES, has_tools),
        "thoughts": (THOUGHT_PROBES, thinks),
        "tools with thoughts": (TOOL_THOUGHT_PROBES, has_tools and thinks),
    }
    return {kind: probes for kind, (probes, applies) in kinds.items() if applies}


def first_difference(template: BoundTemplate, jinja: str, probes: Probes | None = None) -> Difference | None:
    """`None` when whole conversations and generation prompts agree on every probe, by default on all that apply."""
    for kind, conversations in (probes_of(template) if probes is None else probes).items():
        for number, probe in enumerate(conversations, 1):
            difference = _compare(template, jinja, kind, number, probe)
            if difference is not None:
                return difference
    return None


def _compare(template: BoundTemplate, jinja: str, kind: str, number: int, probe: Conversation) -> Difference | None:
    chat = template.encode([probe])[0]
    if isinstance(chat, RowError):
        # Training cannot write it (parallel calls in a style that has none): there is nothing to be equal to.
        return Difference(kind, number, 0, "", "", str(chat)) if kind == PLAIN else None
    whole = [token for prompt, answer in chat.turns for token in prompt + answer] + chat.tail
    asked = Conversation(probe.messages[:-1], probe.tools)
    prompt = template.encode_prompt(asked)
    for ours, conversation, generation in ((whole, probe, False), (prompt, asked, True)):
        # With thinking as in training said, and unsaid: what a client that knows nothing of it will get.
        for choices in ({"enable_thinking": template.options.enable_thinking}, {}):
            theirs = _apply(template.tokenizer, jinja, conversation, generation, choices)
            if isinstance(theirs, str):
                return Difference(kind, number, 0, "", "", theirs)
            if ours != theirs:
                return _difference(template.tokenizer, kind, number, ours, theirs)
    return None


def _apply(
    tokenizer: Any, jinja: str, conversation: Conversation, generation: bool, choices: dict[str, bool]
) -> list[int] | str:
    # Clients send tools in the OpenAI wrapping, whatever shape the rows had.
    tools = [dict(wrapped(tool)) for tool in conversation.tools] or None
    try:
        text = tokenizer.apply_chat_template(
            [message_for_jinja(message) for message in conversation.messages], chat_template=jinja, tokenize=False,
            tools=tools, add_generation_prompt=generation, **choices,
        )  # fmt: skip
    except Exception as error:  # whatever a template raises
        return f"the Jinja template fails: {error}"
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _difference(tokenizer: Any, kind: str, probe: int, ours: list[int], theirs: list[int]) -> Difference:
    position = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )
    around = slice(max(position - 4, 0), position + 5)
    return Difference(kind, probe, position, tokenizer.decode(ours[around]), tokenizer.decode(theirs[around]))
