"""The conformance kit: base classes that a plugin's tests inherit, one for each kind of capability.

    from plugtune.testkit import FormatTests, PluginTests

    class TestPlugin(PluginTests):
        plugin = "format-calls"

    class TestFormat(FormatTests):
        plugin, name = "format-calls", "calls"
        good = [({"question": "?", "answer": "!"}, None)]
        bad = [({"question": "?"}, "answer")]

Needs pytest (`pip install "plugtune[test]"`). `plugtune testkit NAME_OR_FOLDER` runs it from the command line.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "PluginTests": "plugin", "CapabilityTests": "base", "TemplateTests": "template", "FormatTests": "format",
    "StageTests": "stage", "MethodTests": "method", "ExporterTests": "exporter", "FamilyTests": "family",
    "HubTests": "others", "DatasetTests": "others", "CommandTests": "others", "SourceTests": "others",
    "OptimizerTests": "optimizer", "HookTests": "hooks", "FilterTests": "hooks", "SecretTests": "hooks",
}  # fmt: skip

BY_KIND = {
    "template": "TemplateTests", "format": "FormatTests", "stage": "StageTests", "method": "MethodTests",
    "exporter": "ExporterTests", "family": "FamilyTests", "hub": "HubTests", "dataset": "DatasetTests",
    "command": "CommandTests", "source": "SourceTests", "optimizer": "OptimizerTests",
}  # fmt: skip
"""Kind of capability → the base class of its tests."""

__all__ = [*_HOME, "BY_KIND"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest
    except ImportError as error:
        raise ImportError('the conformance kit needs pytest: pip install "plugtune[test]"') from error
    module = f"{__name__}.{_HOME[name]}"
    pytest.register_assert_rewrite(f"{__name__}.base", module)
    return getattr(importlib.import_module(module), name)
