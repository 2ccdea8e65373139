"""Contributed chat templates: one YAML file each, no code."""

from __future__ import annotations

from pathlib import Path

import plugtune


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """Every file of the `templates` folder."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")
