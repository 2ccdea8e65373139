"""Published checkpoints of the first Qwen: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("Qwen-1.8B", "1.8B", "Qwen/Qwen-1_8B", "qwen/Qwen-1_8B"),
    _entry("Qwen-1.8B-Chat", "1.8B", "Qwen/Qwen-1_8B-Chat", "qwen/Qwen-1_8B-Chat", "qwen_old"),
    _entry("Qwen-7B", "7B", "Qwen/Qwen-7B", "qwen/Qwen-7B"),
    _entry("Qwen-7B-Chat", "7B", "Qwen/Qwen-7B-Chat", "qwen/Qwen-7B-Chat", "qwen_old"),
    _entry("Qwen-14B", "14B", "Qwen/Qwen-14B", "qwen/Qwen-14B"),
    _entry("Qwen-14B-Chat", "14B", "Qwen/Qwen-14B-Chat", "qwen/Qwen-14B-Chat", "qwen_old"),
    _entry("Qwen-72B", "72B", "Qwen/Qwen-72B", "qwen/Qwen-72B"),
    _entry("Qwen-72B-Chat", "72B", "Qwen/Qwen-72B-Chat", "qwen/Qwen-72B-Chat", "qwen_old"),
)
