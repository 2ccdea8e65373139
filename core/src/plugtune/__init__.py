"""plugtune: a plugin platform for fine-tuning large language models.

The names a plugin author imports live here; importing this package imports no machine-learning library.
"""

from __future__ import annotations

import pluggy

from plugtune.capabilities import (
    ChatTemplate,
    Command,
    DatasetEntry,
    DatasetFormat,
    DataSource,
    Exporter,
    Hub,
    Launcher,
    ModelEntry,
    ModelFamily,
    Optimizer,
    Recognised,
    Stage,
    TuningMethod,
)
from plugtune.data.fields import text_of
from plugtune.data.records import (
    Conversation,
    Document,
    Feedback,
    Message,
    Preference,
    Record,
    RowError,
    RowLeftOut,
    ToolCall,
    Where,
)
from plugtune.errors import DataError, PluginError, PlugtuneError, Problem, RequestError, RunError
from plugtune.options.schema import option

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("plugtune")
"""Marks the functions of a plugin module that implement hooks of `plugtune.hookspecs`."""

__all__ = [
    "ChatTemplate", "Command", "Conversation", "DataError", "DataSource", "DatasetEntry", "DatasetFormat", "Document",
    "Exporter", "Feedback", "Hub", "Launcher", "Message", "ModelEntry", "ModelFamily", "Optimizer", "PluginError",
    "PlugtuneError", "Preference", "Problem", "Recognised", "Record", "RequestError", "RowError", "RowLeftOut",
    "RunError", "Stage", "ToolCall", "TuningMethod", "Where", "__version__", "hookimpl", "option", "text_of",
]  # fmt: skip
