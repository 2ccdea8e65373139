"""The options part of `--help`, made from schemas."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from plugtune.options.schema import OptionSpec


def options_help(groups: Iterable[tuple[str, Iterable[OptionSpec]]], width: int = 100) -> str:
    """One block for each (title, options): name, type, default and sentence."""
    blocks = []
    for title, specs in groups:
        lines = [f"{title}:"]
        for spec in specs:
            shown = f"  --{spec.name} {_type(spec)}"
            text = " ".join(filter(None, [spec.help, _default(spec.default)]))
            wrapped = textwrap.wrap(text, width - 8) or [""]
            lines.append(shown)
            lines += [f"        {line}" for line in wrapped]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _type(spec: OptionSpec) -> str:
    if spec.choices:
        return "{" + ",".join(str(c) for c in spec.choices) + "}"
    return spec.type.upper()


def _default(value: Any) -> str:
    return "" if value in (None, "", [], {}) else f"[default: {value}]"
