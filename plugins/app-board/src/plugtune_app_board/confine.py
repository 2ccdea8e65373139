"""What a page may name: files inside the allowed folders, hub ids, and options that run no foreign code.

Every value that comes from a browser passes through here before it reaches a file, a loader or a command. Knows
nothing of pages and of what the options mean; what it does not know it treats as a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.errors import Problem, RequestError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
NAME = re.compile(r"[^\W_][\w .,+=()\[\]-]{0,119}")
"""A name of one file or run: no separators, no leading dot, no control characters, no drive letters."""

FREE_TEXT = frozenset(
    {"default_system", "run_name", "project", "add_tokens", "add_special_tokens", "lora_target", "additional_target",
     "freeze_trainable_modules", "freeze_extra_modules", "optim_args", "model_revision", "hub_revision"}
)  # fmt: skip
"""Options whose text is no path, whatever it looks like."""

HUB_OPTIONS = frozenset(
    {"model_name_or_path", "adapter_name_or_path", "reward_model", "reward_model_adapters", "ref_model",
     "ref_model_adapters", "hub_model_id", "export_hub_model_id", "dataset", "eval_dataset", "trackio_space_id"}
)  # fmt: skip
"""Options that may hold a hub id (`owner/name`), which is fetched by the hub's own client and by nothing else."""

CODE = {
    "trust_remote_code": "start the board with --allow-remote-code",
    "allow_dataset_scripts": "start the board with --allow-remote-code",
}
"""Options that run code of others, and what the operator has to do to allow them."""

FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""`module:function`, as options of any plugin name code (reward functions, say)."""

OWN = ".board"
"""The board's own folder below `saves`: its records say what is run next, so that no run may write there."""

SECRET = ("token", "api_key", "secret", "password")
"""Endings of options that hold secrets: they belong in the board's environment, not in a page or a run's folder."""


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders that a page may name; relative paths start in the first.

    Attributes:
        folders: resolved folders.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Sequence[str | Path]) -> Roots:
        """The roots of these folders, symbolic links resolved."""
        return cls(tuple(Path(folder).resolve() for folder in folders))

    def inside(self, text: str | Path, where: str) -> Path:
        """The real path that `text` names.

        Raises:
            RequestError: it leads out of every root, by `..`, a link, a sibling of the same beginning or otherwise.
        """
        shown = str(text)
        if "\0" in shown:
            raise RequestError("a path holds a zero byte", where=where)
        try:
            real = (self.folders[0] / Path(shown).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise RequestError(f"{shown!r} is no path", where=where, why=str(error)) from error
        if not any(real.is_relative_to(folder) for folder in self.folders):
            allowed = ", ".join(map(str, self.folders))
            raise RequestError(
                f"{shown} leads outside the folders of this board", where=where, why=f"allowed: {allowed}",
                fix="copy it there, or start the board with --allow-root FOLDER",
            )  # fmt: skip
        return real


def plain_name(text: str, where: str) -> str:
    """A name that stays one name: for runs and saved settings.

    Raises:
        RequestError: it could lead anywhere else.
    """
    name = str(text or "").strip()
    if not NAME.fullmatch(name) or name.endswith((".", " ")):
        raise RequestError(
            f"{name!r} is not a plain name", where=where, fix="use letters, digits, spaces and - _ . without slashes"
        )
    return name


def check_options(options: Mapping[str, Any], roots: Roots, *, allow_code: bool = False) -> list[Problem]:
    """Everything in the options of a run that a page may not ask for; empty when all is well."""
    problems: list[Problem] = []
    for name, value in options.items():
        if (
            name in CODE
            and not allow_code
            and str(value).strip().lower() not in ("false", "0", "no", "off", "none", "")
        ):
            problems.append(Problem(f"{name} is off on this board", where=name, fix=CODE[name]))
            continue
        if name.endswith(SECRET) and value:
            problems.append(
                Problem(f"{name} is a secret and is not taken from a page", where=name,
                        fix="set it in the environment of the board (HF_TOKEN, MODELSCOPE_API_TOKEN)")
            )  # fmt: skip
            continue
        if name in FREE_TEXT:
            continue
        for text in _texts(value):
            if FUNCTION.fullmatch(text) and not allow_code:
                problems.append(
                    Problem(f"{text} names code, and running code is off on this board", where=name,
                            fix=CODE["trust_remote_code"])
                )  # fmt: skip
                continue
            try:
                check_text(text, roots, where=name, hub=name in HUB_OPTIONS)
            except RequestError as error:
                problems += error.problems
    return problems


def check_text(text: str, roots: Roots, *, where: str, hub: bool = False) -> None:
    """Refuse a text that is an address, or a path outside the roots.

    A text is taken for a path when it has a separator, begins with `~` or `.`, or names something that exists.

    Raises:
        RequestError: as said.
    """
    if "://" in text:
        raise RequestError(f"{text} is an address", where=where, why="this board fetches nothing from addresses")
    if "\0" in text:
        raise RequestError("a zero byte", where=where)
    existing = _exists(roots.folders[0] / text)
    if hub and not existing and HUB_ID.fullmatch(text):
        return
    if existing or "/" in text or "\\" in text or text.startswith(("~", ".")):
        real = roots.inside(text, where)
        if real.is_relative_to(roots.folders[0] / "saves" / OWN):
            raise RequestError(f"{text} is in the board's own folder", where=where, fix="name another folder")


def _exists(path: Path) -> bool:
    try:
        return path.is_symlink() or path.exists()
    except (OSError, ValueError):
        return True  # cannot be looked at: judged as a path


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
            yield from (part.strip() for part in value.split(",") if "," in value and part.strip())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
