"""A chat template of pieces in the template language of Go, as Ollama's Modelfile holds it: plain chat, no tools.

Ollama writes the beginning-of-sequence token itself, so it is left out. What pieces express and Go cannot reach (round
numbers, a system prompt inside the first question) is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from plugtune import RequestError
from plugtune.templating.model import ChatTemplate, Piece, Special
from plugtune.templating.render import written

CONTENT = "{{content}}"


def go_template(template: ChatTemplate, eos: str) -> str:
    """The TEMPLATE of a Modelfile.

    Args:
        template: the pieces.
        eos: the end-of-sequence token as text.

    Raises:
        RequestError: Go's template language cannot express it.
    """
    if any("{{idx}}" in piece for part in _parts(template) for piece in part if isinstance(piece, str)):
        raise _impossible(template, "it numbers the rounds")
    if template.system_in_user:
        raise _impossible(template, "it puts the system prompt inside the first question")
    system = _filled(template.system, eos, "{{ .Content }}")
    user = _filled(template.user, eos, "{{ .Content }}")
    assistant = _filled(template.assistant, eos, "{{ .Content }}")
    # Nothing stands between the actions, and no action trims white space: the pieces come out as they are.
    return (
        _filled(template.prefix, eos, "")
        + "{{ range .Messages }}"
        + '{{ if eq .Role "system" }}' + system
        + '{{ else if eq .Role "user" }}' + user
        + '{{ else if eq .Role "assistant" }}' + assistant
        + "{{ end }}{{ end }}"
    )  # fmt: skip


def _parts(template: ChatTemplate) -> tuple[Sequence[Piece], ...]:
    return template.prefix, template.system, template.user, template.assistant


def _text(pieces: Sequence[Piece], eos: str) -> str:
    return "".join(written(p, "", eos) for p in pieces if not (isinstance(p, Special) and p.name == "bos"))


def _filled(pieces: Sequence[Piece], eos: str, content: str) -> str:
    text = _text(pieces, eos)
    if "{{" in text.replace(CONTENT, ""):
        raise RequestError("a template with {{ in its text cannot be written for Go", where="template")
    return text.replace(CONTENT, content)


def _impossible(template: ChatTemplate, why: str) -> RequestError:
    return RequestError(
        f"template {template.name!r} cannot be written for Ollama", where="template", why=why,
        fix="--exporter gguf writes the weights with the Jinja template, which llama.cpp reads",
    )  # fmt: skip
