"""How commands answer: one JSON document, a table, or a note on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, redirect_stdout
from typing import Any

import click


def answer_alone() -> AbstractContextManager[Any]:
    """While it lasts, what libraries print goes to stderr: only the command's answer belongs on stdout."""
    return redirect_stdout(sys.stderr)


def emit_json(value: Any) -> None:
    """The one document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns as wide as their longest cell; the last one is free."""
    cells = [list(headers), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        click.echo("  ".join([*padded, row[-1]]).rstrip())
