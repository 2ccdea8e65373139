"""Reads chat templates from YAML, strictly: a wrong key or value is named with its file.

Keys are the fields of `ChatTemplate`. A piece list may be one text, or a list of texts, `{token: "<|x|>"}` and
`{special: bos}` / `{special: eos}`. `extends: OTHER.yaml` starts from another file beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError, did_you_mean
from plugtune.templating.model import ChatTemplate, Piece, Pieces, Special, TemplateExample, Token

PIECES = ("prefix", "system", "user", "assistant", "tool", "tool_call")
LISTS = ("stop", "model_types")
FIELDS = tuple(item.name for item in dataclasses.fields(ChatTemplate))
PLACEHOLDERS = ("content", "idx", "round")
NEEDS_CONTENT = ("system", "user", "assistant", "tool", "tool_call")


def load_templates(folder: Path) -> list[ChatTemplate]:
    """Every template of a folder, by file name."""
    return [load_template(path) for path in sorted(folder.glob("*.yaml"))]


def load_template(path: Path) -> ChatTemplate:
    """The template of a file.

    Raises:
        RequestError: the file is missing or broken, or a key or value is wrong.
    """
    values = _extended(path, ())
    where = str(path)
    for key in values:
        if key not in FIELDS:
            fix = did_you_mean(str(key), FIELDS) or f"known: {', '.join(FIELDS)}"
            raise RequestError(f"unknown key {key!r}", where=_at(where, key), fix=fix)
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
    examples = values.get("examples") or []
    if not isinstance(examples, list):
        raise RequestError("examples is a list, each with messages and text", where=_at(where, "examples"))
    values["examples"] = tuple(_example(item, n, where) for n, item in enumerate(examples, 1))
    _check_choices(values, where)
    _check_opener(values, where)
    return ChatTemplate(**values)


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file over those of the files that it extends."""
    values = _read(path)
    if "extends" not in values:
        return values
    base = path.parent / str(values.pop("extends"))
    place = _at(str(path), "extends")
    if base in (path, *seen):
        raise RequestError(
            f"{path.name} extends itself", where=place, fix="extend a file that does not extend this one"
        )
    if not base.is_file():
        near = did_you_mean(base.name, [file.name for file in path.parent.glob("*.yaml") if file != path])
        raise RequestError(
            f"extends {base.name}, which is not beside this file", where=place,
            why="a template extends a YAML file of its own folder, by its file name",
            fix=near or "copy that file here, or write the pieces out",
        )  # fmt: skip
    return {**_extended(base, (path, *seen)), **values}


def _at(where: str, key: str, number: int = 0) -> str:
    """The place of a key in a template's file, or of the item of that number (from 1) under it; for messages only."""
    import yaml

    try:
        node = yaml.compose(Path(where).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError):
        return where
    for name, value in getattr(node, "value", ()):
        if name.value == str(key):
            items = value.value if number and isinstance(value, yaml.SequenceNode) else []
            found = items[number - 1] if number <= len(items) and items else name
            return f"{where}, line {found.start_mark.line + 1}"
    return where


def _read(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except FileNotFoundError as error:
        raise RequestError(f"template file {path} does not exist") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        why = error.problem or str(error)
        fix = "put texts with : # { [ or quotes in them into double quotes"
        raise RequestError("this is no valid YAML", where=f"{path}{line}", why=why, fix=fix) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"template file {path} cannot be read", why=str(error)) from error
    if not isinstance(values, dict):
        raise RequestError("a template is a YAML mapping", where=str(path))
    return values


def _pieces(value: Any, key: str, where: str) -> Pieces:
    items = value if isinstance(value, list) else [value]
    pieces = tuple(_piece(item, key, where) for item in items)
    if key in NEEDS_CONTENT and pieces and not any(isinstance(p, str) and "{{content}}" in p for p in pieces):
        raise RequestError(
            f"{key} holds no {{{{content}}}}", where=_at(where, key), why="the message itself would be left out",
            fix="write {{content}} where the text of the message stands",
        )  # fmt: skip
    return pieces


def _piece(item: Any, key: str, where: str) -> Piece:
    if isinstance(item, str):
        for inner in re.findall(r"\{\{(\s*\w*\s*)\}\}", item):
            if inner not in PLACEHOLDERS:
                raise _unknown_placeholder(inner, key, where)
        return item
    if isinstance(item, dict) and len(item) == 1:
        ((kind, value),) = item.items()
        if kind == "token" and isinstance(value, str):
            return Token(value)
        if kind == "special" and value in ("bos", "eos"):
            return Special(value)
    raise RequestError(
        f"{item!r} is not a piece of {key}",
        where=_at(where, key),
        fix='write a text, {token: "<|x|>"} or {special: eos}',
    )


def _unknown_placeholder(name: str, key: str, where: str) -> RequestError:
    """The error of `{{name}}`, which would otherwise be written out as it stands."""
    token = name.strip().removesuffix("_token")
    special = f"write {{special: {token}}} as a piece of its own" if token in ("bos", "eos") else ""
    return RequestError(
        f"{key} holds {{{{{name}}}}}, which stands for nothing", where=_at(where, key),
        fix=special or f"write {', '.join('{{' + known + '}}' for known in PLACEHOLDERS)}, without spaces inside",
    )  # fmt: skip


def _example(item: Any, number: int, where: str) -> TemplateExample:
    place = _at(where, "examples", number) if not _is_example(item) else where
    if place != where or not isinstance(item, dict):
        raise RequestError(
            f"example {number} needs messages and text", where=place,
            fix="messages: a list of {role: user, content: ...}; text: what they are written as",
        )  # fmt: skip
    _check_messages(item, number, where)
    return TemplateExample(
        tuple(item["messages"]), item["text"], tuple(item.get("tools") or ()), tuple(item.get("trained") or ()),
        item.get("options"),
    )  # fmt: skip


def _is_example(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("messages"), list) and isinstance(item.get("text"), str)


def _check_messages(item: dict[str, Any], number: int, where: str) -> None:
    from plugtune.templating.openai import conversation_of

    try:
        conversation_of({"messages": item["messages"], "tools": item.get("tools")})
    except RequestError as error:
        problem = error.problems[0]
        place = f"{_at(where, 'examples', number)}, example {number}" + (f", {problem.where}" if problem.where else "")
        raise RequestError(problem.what, where=place, fix=problem.fix) from error


TYPES: dict[str, type] = {
    "name": str, "summary": str, "source": str, "default_system": str, "opener": str, "tool_separator": str,
    "tool_style": str, "no_thoughts": str, "replace_eos": bool, "system_in_user": bool,
}  # fmt: skip


def _check_types(values: dict[str, Any], where: str) -> None:
    for key, kind in TYPES.items():
        if key in values and not isinstance(values[key], kind):
            wanted = "true or false" if kind is bool else "text"
            raise RequestError(f"{key} is {values[key]!r}", where=_at(where, key), fix=f"write {wanted}")
    thinking = values.get("thinking")
    pair = isinstance(thinking, list) and len(thinking) == 2 and all(isinstance(word, str) for word in thinking)
    if thinking is not None and not pair:
        raise RequestError(
            f"thinking is {thinking!r}",
            where=_at(where, "thinking"),
            fix="write a list of the opening and closing words",
        )


def _check_choices(values: dict[str, Any], where: str) -> None:
    from plugtune.templating.tools import STYLES

    choices = {"eos": ("each", "once"), "reasoning": ("none", "keep", "strip-history"), "tool_style": ("", *STYLES)}
    for key, known in choices.items():
        if key in values and values[key] not in known:
            near = did_you_mean(str(values[key]), known)
            raise RequestError(
                f"{key} is {values[key]!r}",
                where=_at(where, key),
                fix=near or f"one of {', '.join(k for k in known if k)}",
            )


def _check_opener(values: dict[str, Any], where: str) -> None:
    opener = values.get("opener", "")
    for key in ("user", "tool"):
        pieces = values.get(key)
        if opener and pieces and not (isinstance(pieces[-1], str) and pieces[-1].endswith(opener)):
            raise RequestError(
                f"{key} does not end with the opener {opener!r}", where=_at(where, key),
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
