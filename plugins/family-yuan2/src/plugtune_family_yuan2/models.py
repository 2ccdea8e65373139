"""Published checkpoints of Yuan2: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("Yuan2-2B-Chat", "2B", "IEITYuan/Yuan2-2B-hf", "YuanLLM/Yuan2.0-2B-hf", "yuan"),
    _entry("Yuan2-51B-Chat", "51B", "IEITYuan/Yuan2-51B-hf", "YuanLLM/Yuan2.0-51B-hf", "yuan"),
    _entry("Yuan2-102B-Chat", "102B", "IEITYuan/Yuan2-102B-hf", "YuanLLM/Yuan2.0-102B-hf", "yuan"),
)
