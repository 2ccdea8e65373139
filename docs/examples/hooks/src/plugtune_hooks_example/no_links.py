"""Data filter: conversations with links are left out and counted (`EXAMPLE_NO_LINKS=1`)."""

from __future__ import annotations

import os

import plugtune


@plugtune.hookimpl(trylast=True)
def plugtune_filter_record(record: plugtune.Record) -> None:
    """After all other filters, which may have masked the links."""
    if not os.environ.get("EXAMPLE_NO_LINKS") or not isinstance(record, plugtune.Conversation):
        return
    if any("http://" in message.content or "https://" in message.content for message in record.messages):
        raise plugtune.RowLeftOut("it holds a link")
