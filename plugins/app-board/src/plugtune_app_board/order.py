"""A run as it will be started: its options, its files, its environment and its command. Decides nothing."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Order:
    """A run as it will be started.

    Attributes:
        kind: `train`, `evaluate` or `export`.
        title: for lists.
        options: what the YAML file holds.
        env: what is added to the environment (devices, hub).
        folder: where its files go, relative to the working folder.
        file: the YAML file.
        log: file of its output.
        proof: a file that it leaves when all went well; the folder itself where that appears whole or not at all.
    """

    kind: str
    title: str
    options: dict[str, Any]
    folder: Path
    file: Path
    log: Path
    proof: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The command of plugtune that does it."""
        return "export" if self.kind == "export" else "train"

    def command(self) -> list[str]:
        """The argument list that runs."""
        return [sys.executable, "-m", "plugtune", self.program, str(self.file)]

    def yaml(self) -> str:
        """The file that runs."""
        return yaml.safe_dump(self.options, allow_unicode=True, sort_keys=False)

    def shown(self) -> str:
        """The same run as a person would type it, quoted for a POSIX shell; one flag a line."""
        env = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        flags = [f"--{name}={shlex.quote(flag_text(value))}" for name, value in self.options.items()]
        return " \\\n    ".join([" ".join([*env, "plugtune", self.program]), *flags])


def flag_text(value: Any) -> str:
    """A value as it is written behind a flag."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else "null" if value is None else str(value)
