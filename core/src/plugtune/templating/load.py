"""Reads chat templates from YAML, strictly: a wrong key or value is named with its file.

Keys are the fields of `ChatTemplate`. A piece list may be one text, or a list of texts, `{token: "<|x|>"}` and
`{special: bos}` / `{special: eos}`. `extends: OTHER.yaml` starts from another file beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError, did_you_mean
from plugtune.templating.model import ChatTemplate, Piece, Pieces, Special, TemplateExample, Token

PIECES = ("prefix", "system", "user", "assistant", "tool", "tool_call")
LISTS = ("stop", "model_types")
FIELDS = tuple(item.name for item in dataclasses.fields(ChatTemplate))
NEEDS_CONTENT = ("system", "user", "assistant", "tool", "tool_call")


def load_templates(folder: Path) -> list[ChatTemplate]:
    """Every template of a folder, by file name."""
    return [load_template(path) for path in sorted(folder.glob("*.yaml"))]


def load_template(path: Path) -> ChatTemplate:
    """The template of a file.

    Raises:
        RequestError: the file is missing or broken, or a key or value is wrong.
    """
    values = _read(path)
    if "extends" in values:
        base = _read(path.parent / str(values.pop("extends")))
        values = {**base, **values}
    where = str(path)
    for key in values:
        if key not in FIELDS:
            raise RequestError(
                f"unknown key {key!r}", where=where, fix=did_you_mean(str(key), FIELDS) or f"known: {', '.join(FIELDS)}"
            )
    values.setdefault("name", path.stem)
    for key in PIECES:
        if key in values:
            values[key] = _pieces(values[key], key, where)
    for key in LISTS:
        if key in values:
            items = values[key] if isinstance(values[key], list) else [values[key]]
            values[key] = tuple(str(item) for item in items)
    _check_types(values, where)
    if values.get("thinking") is not None:
        values["thinking"] = tuple(values["thinking"])
    values["examples"] = tuple(_example(item, n, where) for n, item in enumerate(values.get("examples") or [], 1))
    _check_choices(values, where)
    _check_opener(values, where)
    return ChatTemplate(**values)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except FileNotFoundError as error:
        raise RequestError(f"template file {path} does not exist") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"template file {path} cannot be read", why=str(error)) from error
    if not isinstance(values, dict):
        raise RequestError("a template is a YAML mapping", where=str(path))
    return values


def _pieces(value: Any, key: str, where: str) -> Pieces:
    items = value if isinstance(value, list) else [value]
    pieces = tuple(_piece(item, key, where) for item in items)
    if key in NEEDS_CONTENT and pieces and not any(isinstance(p, str) and "{{content}}" in p for p in pieces):
        raise RequestError(f"{key} holds no {{{{content}}}}", where=where, why="the message itself would be left out")
    return pieces


def _piece(item: Any, key: str, where: str) -> Piece:
    if isinstance(item, str):
        return item
    if isinstance(item, dict) and len(item) == 1:
        ((kind, value),) = item.items()
        if kind == "token" and isinstance(value, str):
            return Token(value)
        if kind == "special" and value in ("bos", "eos"):
            return Special(value)
    raise RequestError(
        f"{item!r} is not a piece of {key}", where=where, fix='write a text, {token: "<|x|>"} or {special: eos}'
    )


def _example(item: Any, number: int, where: str) -> TemplateExample:
    if not isinstance(item, dict) or "messages" not in item or "text" not in item:
        raise RequestError(f"example {number} needs messages and text", where=where)
    return TemplateExample(
        tuple(item["messages"]), item["text"], tuple(item.get("tools") or ()), tuple(item.get("trained") or ()),
        item.get("options"),
    )  # fmt: skip


TYPES: dict[str, type] = {
    "name": str, "summary": str, "source": str, "default_system": str, "opener": str, "tool_separator": str,
    "tool_style": str, "replace_eos": bool, "system_in_user": bool,
}  # fmt: skip


def _check_types(values: dict[str, Any], where: str) -> None:
    for key, kind in TYPES.items():
        if key in values and not isinstance(values[key], kind):
            wanted = "true or false" if kind is bool else "text"
            raise RequestError(f"{key} is {values[key]!r}", where=where, fix=f"write {wanted}")
    thinking = values.get("thinking")
    pair = isinstance(thinking, list) and len(thinking) == 2 and all(isinstance(word, str) for word in thinking)
    if thinking is not None and not pair:
        raise RequestError(
            f"thinking is {thinking!r}", where=where, fix="write a list of the opening and closing words"
        )


def _check_choices(values: dict[str, Any], where: str) -> None:
    from plugtune.templating.tools import STYLES

    choices = {"eos": ("each", "once"), "reasoning": ("none", "keep", "strip-history"), "tool_style": ("", *STYLES)}
    for key, known in choices.items():
        if key in values and values[key] not in known:
            near = did_you_mean(str(values[key]), known)
            raise RequestError(
                f"{key} is {values[key]!r}", where=where, fix=near or f"one of {', '.join(k for k in known if k)}"
            )


def _check_opener(values: dict[str, Any], where: str) -> None:
    opener = values.get("opener", "")
    for key in ("user", "tool"):
        pieces = values.get(key)
        if opener and pieces and not (isinstance(pieces[-1], str) and pieces[-1].endswith(opener)):
            raise RequestError(
                f"{key} does not end with the opener {opener!r}", where=where,
                why="the opener is the end of what stands before an answer",
                fix=f"write the end of the last text of {key}, or leave opener out",
            )  # fmt: skip


def digest(template: ChatTemplate, *options: Any) -> str:
    """Hex SHA-256 over everything of a template that decides ids and masks."""
    parts = {
        item.name: repr(getattr(template, item.name))
        for item in dataclasses.fields(template)
        if item.name not in ("summary", "examples", "source", "model_types")
    }
    return hashlib.sha256(json.dumps([parts, repr(options)], sort_keys=True).encode()).hexdigest()
