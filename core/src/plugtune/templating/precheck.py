"""Whether a template can belong to a model's tokenizer, told from the tokenizer's files before any library is imported.

Only what is certain is refused: a token that stands nowhere in the files, or a chat template that is in none of them.
Everything else is judged when the tokenizer is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path

from plugtune.modeling.locate import Located
from plugtune.options.groups import ModelOptions
from plugtune.templating.auto import no_own_template
from plugtune.templating.bound import no_token
from plugtune.templating.model import ChatTemplate, Token

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def check_template(template: ChatTemplate | None, located: Located, options: ModelOptions) -> None:
    """Refuse a named template without its tokens, or (with `None`) a tokenizer without a chat template of its own.

    Raises:
        RequestError: they do not belong together.
    """
    folder, family = located.folder, located.family
    own_way = located.gguf_file or (family is not None and family.tokenizer)
    if own_way or not all((folder / name).is_file() for name in FILES[:2]):
        return
    texts = [(folder / name).read_bytes() for name in FILES if (folder / name).is_file()]
    if template is None:
        if not _has_template(folder, texts):
            raise no_own_template(family.template if family is not None else "")
        return
    added = {*options.add_tokens, *options.add_special_tokens}
    for token in _needed(template):
        if token not in added and not any(form in text for form in _forms(token) for text in texts):
            raise no_token(template.name, token)


def _has_template(folder: Path, texts: list[bytes]) -> bool:
    beside = any(folder.glob("chat_template*")) or (folder / "additional_chat_templates").is_dir()
    return beside or any(b'"chat_template"' in text for text in texts)


def _needed(template: ChatTemplate) -> list[str]:
    """Tokens that every conversation in this template holds."""
    pieces = (*template.prefix, *template.user, *template.assistant)
    found = [piece.text for piece in pieces if isinstance(piece, Token)]
    return [*found, *(template.stop[:1] if template.replace_eos else ())]


def _forms(token: str) -> set[bytes]:
    """A token as JSON files may write it."""
    return {json.dumps(token, ensure_ascii=ascii_only).encode() for ascii_only in (True, False)}
