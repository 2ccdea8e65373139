"""Published checkpoints of XVERSE: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("XVERSE-7B", "7B", "xverse/XVERSE-7B", "xverse/XVERSE-7B"),
    _entry("XVERSE-7B-Chat", "7B", "xverse/XVERSE-7B-Chat", "xverse/XVERSE-7B-Chat", "xverse"),
    _entry("XVERSE-13B", "13B", "xverse/XVERSE-13B", "xverse/XVERSE-13B"),
    _entry("XVERSE-13B-Chat", "13B", "xverse/XVERSE-13B-Chat", "xverse/XVERSE-13B-Chat", "xverse"),
    _entry("XVERSE-65B", "65B", "xverse/XVERSE-65B", "xverse/XVERSE-65B"),
    _entry("XVERSE-65B-Chat", "65B", "xverse/XVERSE-65B-Chat", "xverse/XVERSE-65B-Chat", "xverse"),
)
