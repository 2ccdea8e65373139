"""Writes a template of pieces as a Jinja chat template, for the tokenizer that is exported with the model.

The Jinja goes through a conversation as `templating.render` does, message by message; `templating.verify` proves that
the two give the same token ids. What training cannot write (an answer without a question, tools without a style) is
refused by `raise_exception`, never written otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from plugtune.templating.model import ChatTemplate, Piece
from plugtune.templating.render import RenderOptions, asking, style_name, written
from plugtune.templating.tools import STYLES, JinjaTools
from plugtune.templating.tools.fragments import each, literal, macro, put, quoted, refuse, when, write

NO_TOOLS = refuse("This chat template writes plain chat only: no tools, no tool calls.")
NOT_TEXT = refuse("This chat template reads messages whose content is text.")
NO_QUESTION = refuse("An answer stands where a question is expected.")
NO_ANSWER_WANTED = refuse("The conversation ends with an answer; there is nothing to answer.")
UNKNOWN_ROLE = refuse("This chat template knows one system message in the first place, user, assistant and tool.")

TEXT_OF = macro(
    "text_of(message)",
    when(
        "message.content is string",
        write("message.content"),
        when("message.content is defined and message.content is not none", NOT_TEXT),
    ),
)
"""The content of a message; absent beside tool calls."""

PLACES = each(
    "message", "chat",
    when("message.role == 'assistant'", put("state.last_answer", "loop.index0"))
    + when("message.role == 'user'", put("state.last_question", "loop.index0")),
)  # fmt: skip


def to_jinja(
    template: ChatTemplate, options: RenderOptions, tokenizer: Any, eos: str, *, with_tools: bool = True
) -> str:
    """The template as Jinja.

    With `with_tools` false, or a tool style that has no Jinja, the Jinja itself refuses tools, calls and results.
    """
    style = STYLES.get(style_name(template, options))
    tools = style.jinja if style is not None and with_tools else None
    return _Writer(template, options, tokenizer.bos_token or "", eos, tools).all()


class _Writer:
    """The parts of one chat template, each a run of Jinja statements."""

    def __init__(
        self, template: ChatTemplate, options: RenderOptions, bos: str, eos: str, tools: JinjaTools | None
    ) -> None:
        self.template, self.options, self.bos, self.eos, self.tools = template, options, bos, eos, tools
        self.thinks = template.thinking is not None
        self.strips = template.thinking is not None and template.reasoning == "strip-history"

    def all(self) -> str:
        branches = (
            "{%- if message.role == 'user' -%}" + self._user()
            + "{%- elif message.role == 'assistant' -%}" + self._assistant()
            + "{%- elif message.role == 'tool' -%}" + (self._tool() if self.tools else NO_TOOLS)
            + "{%- else -%}" + UNKNOWN_ROLE + "{%- endif -%}"
        )  # fmt: skip
        opens = "loop.nextitem.role == 'assistant' if not loop.last else add_generation_prompt"
        messages = each("message", "chat", put("opens", opens) + branches)
        # Every statement takes the white space around it away: line ends between the parts are for people.
        return "\n".join((self._macros(), self._system(), self._state(), messages, self._generation())).strip()

    def expression(self, pieces: Sequence[Piece], content: str = "''", index: str = "loop.index0 // 2") -> str:
        """Pieces as one expression, with the message and its round put in."""
        text = "".join(written(piece, self.bos, self.eos) for piece in pieces)
        parts: list[str] = []
        for number, part in enumerate(text.split("{{content}}")):
            parts += [content] if number else []
            for bit in re.split(r"({{(?:idx|round)}})", part):
                counted = {"{{idx}}": f"({index})", "{{round}}": f"({index} + 1)"}.get(bit)
                parts += [counted] if counted else [quoted(bit)] if bit else []
        return " ~ ".join(parts) or "''"

    def _macros(self) -> str:
        if self.tools is None:
            return TEXT_OF
        return (
            TEXT_OF + self.tools.helpers
            + macro("describe_tools(tools)", self.tools.describe) + macro("write_calls(calls)", self.tools.calls)
        )  # fmt: skip

    def _system(self) -> str:
        """Sets `chat` and `system`, writes prefix and system message."""
        options, template = self.options, self.template
        default = template.default_system if options.default_system is None else options.default_system
        thinking = "true" if options.enable_thinking else "false"
        described = put("system", "system ~ describe_tools(tools)") if self.tools else NO_TOOLS
        parts = [
            when("enable_thinking is not defined", put("enable_thinking", thinking)) if self.strips else "",
            when(
                "messages and messages[0].role == 'system'",
                put("system", "text_of(messages[0])") + put("chat", "messages[1:]"),
                put("system", quoted(default)) + put("chat", "messages"),
            ),
            when("tools", described),
            write(self.expression(template.prefix)) if template.prefix else "",
        ]
        if not template.system_in_user:
            parts.append(when("system", write(self.expression(template.system, "system"))))
        return "".join(parts)

    def _state(self) -> str:
        """What changes from message to message."""
        lead = "''"
        if self.template.system_in_user:
            texts = [piece for piece in self.template.system if isinstance(piece, str)]
            lead = f"({self.expression(texts, 'system')}) if system else ''"
        state = put("state", f"namespace(lead={lead}, asked=false, results=[], last_answer=-1, last_question=-1)")
        return state + (PLACES if self.strips else "")

    def _asking(self, pieces: Sequence[Piece], content: str) -> str:
        """A question, with what opens its answer when one follows."""
        question = asking(self.template, tuple(pieces), opens=False)
        opener = when("opens", literal(self.template.opener)) if question != tuple(pieces) else ""
        return write(self.expression(question, content)) + opener

    def _user(self) -> str:
        asked = self._asking(self.template.user, "(state.lead ~ text_of(message))")
        return asked + put("state.lead", "''") + put("state.asked", "true")

    def _tool(self) -> str:
        results = f"(state.results | join({quoted(self.template.tool_separator)}))"
        joined = self._asking(self.template.tool or self.template.user, results) + put("state.results", "[]")
        return (
            put("state.results", "state.results + [text_of(message)]")
            + when("loop.last or loop.nextitem.role != 'tool'", joined)
            + put("state.asked", "true")
        )

    def _assistant(self) -> str:
        calls = put("content", "content ~ ('\\n' if content else '') ~ write_calls(message.tool_calls)")
        start = (
            when("not state.asked", NO_QUESTION)
            + when("loop.last and add_generation_prompt", NO_ANSWER_WANTED)
            + put("state.asked", "false")
            + put("content", "text_of(message)")
            + when("message.tool_calls", calls if self.tools else NO_TOOLS)
            + self._thoughts()
        )
        answer = write(self.expression(self.template.assistant, "content"))
        if self.template.tool_call and self.tools:
            answer = when("message.tool_calls", write(self.expression(self.template.tool_call, "content")), answer)
        if self.template.eos == "once":
            answer += when("loop.last", literal(self.eos))
        return start + self._learnt(answer)

    def _thoughts(self) -> str:
        """Puts given thoughts before `content`, takes old ones away; sets `empty`, the empty thoughts to write."""
        if self.template.thinking is None:
            return ""
        opening, closing = self.template.thinking
        given = put("content", f"{quoted(opening)} ~ message.reasoning_content ~ {quoted(closing)} ~ content")
        text = when("message.reasoning_content", given)
        if not self.strips:
            return text
        start, end = quoted(opening.strip()), quoted(closing.strip())
        return (
            text
            + put("final", "loop.index0 == state.last_answer and not add_generation_prompt")
            + put("thought", f"{start} in content and {end} in content")
            + put("keeps", "thought and enable_thinking and loop.index0 > state.last_question")
            + when("thought and not keeps", put("content", f"content.split({end}, 1)[1].lstrip('\\n')"))
            + put("empty", f"{quoted(self.template.empty_thoughts)} if final and not keeps else ''")
        )

    def _learnt(self, answer: str) -> str:
        """An answer, marked as such for engines that make masks from chat templates; old ones are context."""

        def marked(text: str) -> str:
            return "{%- generation -%}" + text + "{%- endgeneration -%}"

        if not self.strips:
            return marked(answer)
        latest = when("enable_thinking", marked(write("empty") + answer), write("empty") + marked(answer))
        return when("final or keeps", latest, answer)

    def _generation(self) -> str:
        """Empty thoughts that are given to a model that shall not think."""
        if self.template.thinking is None or not self.strips:
            return ""
        return when("add_generation_prompt and not enable_thinking", literal(self.template.empty_thoughts))
