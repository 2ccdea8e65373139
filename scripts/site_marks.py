"""Marks of the docs site: a command block that no test runs says so, where its page does not say what it needs."""

from __future__ import annotations

import re
from typing import Any

BLOCK = re.compile(r"(?P<before>(?:^[^\n]*\n)?)^```bash\n.*?^```$", re.MULTILINE | re.DOTALL)
RUN, NOTE = "<!-- run -->", "*Not run by the tests.*"


def marked(text: str) -> str:
    """The page with a note before every command block that is neither run nor marked by its author."""

    def mark(match: re.Match[str]) -> str:
        before = match["before"].strip()
        if before == RUN or (before.startswith("*") and before.endswith("*")):
            return match[0]
        return match[0].replace("```bash\n", f"{NOTE}\n\n```bash\n", 1)

    return BLOCK.sub(mark, text)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What mkdocs calls for every page."""
    return marked(markdown)
