"""Writes a template of pieces as a Jinja chat template, for the tokenizer that is exported with the model."""

from __future__ import annotations

import json
from typing import Any

from plugtune.templating.model import ChatTemplate, Pieces
from plugtune.templating.render import RenderOptions, written

REFUSE = "{{- raise_exception('This chat template writes plain chat only: no tools, no tool calls.') -}}"


def to_jinja(template: ChatTemplate, options: RenderOptions, tokenizer: Any, eos: str) -> str:
    """Jinja for plain chat: system, user and assistant messages.

    Tools, calls and their results are refused by the Jinja itself rather than written otherwise than in training.
    """
    bos = tokenizer.bos_token or ""
    default = template.default_system if options.default_system is None else options.default_system

    def expression(pieces: Pieces, content: str, index: str = "''") -> str:
        text = "".join(written(piece, bos, eos) for piece in pieces)
        parts = []
        for number, part in enumerate(text.split("{{content}}")):
            if number:
                parts.append(content)
            for place, bit in enumerate(part.split("{{idx}}")):
                if place:
                    parts.append(index)
                if bit:
                    parts.append(json.dumps(bit, ensure_ascii=False))
        return " + ".join(parts) or "''"

    content = "message['content']"
    system = f"{{%- if system -%}}{{{{- {expression(template.system, 'system')} -}}}}{{%- endif -%}}"
    if template.system_in_user:
        lead = expression(template.system, "system")
        content = f"((({lead}) if system and loop.first else '') + message['content'])"
        system = ""
    user = expression(template.user, content, "(loop.index0 // 2) | string")
    answer = expression(template.assistant, "message['content']")
    lines = [
        f"{{%- if tools -%}}{REFUSE}{{%- endif -%}}",
        "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}"
        "{%- set messages = messages[1:] -%}{%- else -%}"
        f"{{%- set system = {json.dumps(default, ensure_ascii=False)} -%}}{{%- endif -%}}",
        f"{{{{- {expression(template.prefix, repr(''))} -}}}}",
        system,
        "{%- for message in messages -%}",
        f"{{%- if message['tool_calls'] -%}}{REFUSE}{{%- endif -%}}",
        f"{{%- if message['role'] == 'user' -%}}{{{{- {user} -}}}}",
        f"{{%- elif message['role'] == 'assistant' -%}}{{% generation %}}{{{{- {answer} -}}}}",
    ]
    if template.eos == "once":
        lines.append(f"{{%- if loop.last -%}}{{{{- {json.dumps(eos)} -}}}}{{%- endif -%}}")
    lines += ["{%- endgeneration -%}", f"{{%- else -%}}{REFUSE}{{%- endif -%}}", "{%- endfor -%}"]
    return "".join(lines)
