"""Published checkpoints of ChatGLM3 and ChatGLM2: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("ChatGLM3-6B-Base", "6B", "zai-org/chatglm3-6b-base", "ZhipuAI/chatglm3-6b-base"),
    _entry("ChatGLM3-6B-Chat", "6B", "zai-org/chatglm3-6b", "ZhipuAI/chatglm3-6b", "chatglm3"),
    _entry("ChatGLM3-6B-32k-Chat", "6B", "zai-org/chatglm3-6b-32k", "ZhipuAI/chatglm3-6b-32k", "chatglm3"),
    _entry("ChatGLM2-6B-Chat", "6B", "zai-org/chatglm2-6b", "ZhipuAI/chatglm2-6b", "chatglm2"),
)
