"""Secrets: `NAME=value` lines of a file that only its owner can read (`EXAMPLE_SECRETS`)."""

from __future__ import annotations

import os
from pathlib import Path

import plugtune


@plugtune.hookimpl
def plugtune_secret(name: str) -> str | None:
    """The value of a name; `None` leaves the question to other plugins."""
    path = os.environ.get("EXAMPLE_SECRETS")
    if not path:
        return None
    if Path(path).stat().st_mode & 0o077:
        raise plugtune.RequestError(f"secrets file {path} can be read by others", fix=f"chmod 600 {path}")
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((value for key, _, value in (line.partition("=") for line in lines) if key == name), None)
