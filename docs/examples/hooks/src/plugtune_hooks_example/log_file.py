"""Logging: every step's entry as a line of a file of your own (`EXAMPLE_LOG`)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import plugtune


@plugtune.hookimpl
def plugtune_log(entry: Mapping[str, Any], plan: Any) -> None:
    """Called on the first process at every logging step."""
    path = os.environ.get("EXAMPLE_LOG")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": plan.stage.name, **entry}) + "\n")
