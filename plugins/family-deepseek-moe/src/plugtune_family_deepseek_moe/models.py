"""Published checkpoints of DeepSeek-MoE: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("DeepSeek-MoE-16B-Base", "16B", "deepseek-ai/deepseek-moe-16b-base", "deepseek-ai/deepseek-moe-16b-base"),
    _entry(
        "DeepSeek-MoE-16B-Chat",
        "16B",
        "deepseek-ai/deepseek-moe-16b-chat",
        "deepseek-ai/deepseek-moe-16b-chat",
        "deepseek",
    ),
)
