"""Published checkpoints of Qwen1.5 to Qwen3: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("Qwen1.5-0.5B", "0.5B", "Qwen/Qwen1.5-0.5B", "Qwen/Qwen1.5-0.5B"),
    _entry("Qwen1.5-0.5B-Chat", "0.5B", "Qwen/Qwen1.5-0.5B-Chat", "Qwen/Qwen1.5-0.5B-Chat", "qwen_old"),
    _entry("Qwen1.5-1.8B", "1.8B", "Qwen/Qwen1.5-1.8B", "Qwen/Qwen1.5-1.8B"),
    _entry("Qwen1.5-1.8B-Chat", "1.8B", "Qwen/Qwen1.5-1.8B-Chat", "Qwen/Qwen1.5-1.8B-Chat", "qwen_old"),
    _entry("Qwen1.5-4B", "4B", "Qwen/Qwen1.5-4B", "Qwen/Qwen1.5-4B"),
    _entry("Qwen1.5-4B-Chat", "4B", "Qwen/Qwen1.5-4B-Chat", "Qwen/Qwen1.5-4B-Chat", "qwen_old"),
    _entry("Qwen1.5-7B", "7B", "Qwen/Qwen1.5-7B", "Qwen/Qwen1.5-7B"),
    _entry("Qwen1.5-7B-Chat", "7B", "Qwen/Qwen1.5-7B-Chat", "Qwen/Qwen1.5-7B-Chat", "qwen_old"),
    _entry("Qwen1.5-14B", "14B", "Qwen/Qwen1.5-14B", "Qwen/Qwen1.5-14B"),
    _entry("Qwen1.5-14B-Chat", "14B", "Qwen/Qwen1.5-14B-Chat", "Qwen/Qwen1.5-14B-Chat", "qwen_old"),
    _entry("Qwen1.5-32B", "32B", "Qwen/Qwen1.5-32B", "Qwen/Qwen1.5-32B"),
    _entry("Qwen1.5-32B-Chat", "32B", "Qwen/Qwen1.5-32B-Chat", "Qwen/Qwen1.5-32B-Chat", "qwen_old"),
    _entry("Qwen1.5-72B", "72B", "Qwen/Qwen1.5-72B", "Qwen/Qwen1.5-72B"),
    _entry("Qwen1.5-72B-Chat", "72B", "Qwen/Qwen1.5-72B-Chat", "Qwen/Qwen1.5-72B-Chat", "qwen_old"),
    _entry("Qwen1.5-110B", "110B", "Qwen/Qwen1.5-110B", "Qwen/Qwen1.5-110B"),
    _entry("Qwen1.5-110B-Chat", "110B", "Qwen/Qwen1.5-110B-Chat", "Qwen/Qwen1.5-110B-Chat", "qwen_old"),
    _entry("Qwen2-0.5B", "0.5B", "Qwen/Qwen2-0.5B", "Qwen/Qwen2-0.5B"),
    _entry("Qwen2-0.5B-Instruct", "0.5B", "Qwen/Qwen2-0.5B-Instruct", "Qwen/Qwen2-0.5B-Instruct", "qwen_old"),
    _entry("Qwen2-1.5B", "1.5B", "Qwen/Qwen2-1.5B", "Qwen/Qwen2-1.5B"),
    _entry("Qwen2-1.5B-Instruct", "1.5B", "Qwen/Qwen2-1.5B-Instruct", "Qwen/Qwen2-1.5B-Instruct", "qwen_old"),
    _entry("Qwen2-7B", "7B", "Qwen/Qwen2-7B", "Qwen/Qwen2-7B"),
    _entry("Qwen2-7B-Instruct", "7B", "Qwen/Qwen2-7B-Instruct", "Qwen/Qwen2-7B-Instruct", "qwen_old"),
    _entry("Qwen2-72B", "72B", "Qwen/Qwen2-72B", "Qwen/Qwen2-72B"),
    _entry("Qwen2-72B-Instruct", "72B", "Qwen/Qwen2-72B-Instruct", "Qwen/Qwen2-72B-Instruct", "qwen_old"),
    _entry("Qwen2.5-0.5B", "0.5B", "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
    _entry("Qwen2.5-0.5B-Instruct", "0.5B", "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct", "qwen"),
    _entry("Qwen2.5-1.5B", "1.5B", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B"),
    _entry("Qwen2.5-1.5B-Instruct", "1.5B", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "qwen"),
    _entry("Qwen2.5-3B", "3B", "Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-3B"),
    _entry("Qwen2.5-3B-Instruct", "3B", "Qwen/Qwen2.5-3B-Instruct", "Qwen/Qwen2.5-3B-Instruct", "qwen"),
    _entry("Qwen2.5-7B", "7B", "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
    _entry("Qwen2.5-7B-Instruct", "7B", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "qwen"),
    _entry("Qwen2.5-14B", "14B", "Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-14B"),
    _entry("Qwen2.5-14B-Instruct", "14B", "Qwen/Qwen2.5-14B-Instruct", "Qwen/Qwen2.5-14B-Instruct", "qwen"),
    _entry("Qwen2.5-32B", "32B", "Qwen/Qwen2.5-32B", "Qwen/Qwen2.5-32B"),
    _entry("Qwen2.5-32B-Instruct", "32B", "Qwen/Qwen2.5-32B-Instruct", "Qwen/Qwen2.5-32B-Instruct", "qwen"),
    _entry("Qwen2.5-72B", "72B", "Qwen/Qwen2.5-72B", "Qwen/Qwen2.5-72B"),
    _entry("Qwen2.5-72B-Instruct", "72B", "Qwen/Qwen2.5-72B-Instruct", "Qwen/Qwen2.5-72B-Instruct", "qwen"),
    _entry("Qwen3-0.6B-Base", "0.6B", "Qwen/Qwen3-0.6B-Base", "Qwen/Qwen3-0.6B-Base"),
    _entry("Qwen3-0.6B", "0.6B", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", "qwen3"),
    _entry("Qwen3-1.7B-Base", "1.7B", "Qwen/Qwen3-1.7B-Base", "Qwen/Qwen3-1.7B-Base"),
    _entry("Qwen3-1.7B", "1.7B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-1.7B", "qwen3"),
    _entry("Qwen3-4B-Base", "4B", "Qwen/Qwen3-4B-Base", "Qwen/Qwen3-4B-Base"),
    _entry("Qwen3-4B", "4B", "Qwen/Qwen3-4B", "Qwen/Qwen3-4B", "qwen3"),
    _entry("Qwen3-8B-Base", "8B", "Qwen/Qwen3-8B-Base", "Qwen/Qwen3-8B-Base"),
    _entry("Qwen3-8B", "8B", "Qwen/Qwen3-8B", "Qwen/Qwen3-8B", "qwen3"),
    _entry("Qwen3-14B-Base", "14B", "Qwen/Qwen3-14B-Base", "Qwen/Qwen3-14B-Base"),
    _entry("Qwen3-14B", "14B", "Qwen/Qwen3-14B", "Qwen/Qwen3-14B", "qwen3"),
    _entry("Qwen3-32B", "32B", "Qwen/Qwen3-32B", "Qwen/Qwen3-32B", "qwen3"),
    _entry(
        "Qwen3-4B-Instruct-2507", "4B", "Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen3-4B-Instruct-2507", "qwen3_nothink"
    ),
)
