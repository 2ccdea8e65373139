"""Published checkpoints of InternLM2: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("InternLM2-1.8B", "1.8B", "internlm/internlm2-1_8b", "Shanghai_AI_Laboratory/internlm2-1_8b"),
    _entry(
        "InternLM2-1.8B-Chat",
        "1.8B",
        "internlm/internlm2-chat-1_8b",
        "Shanghai_AI_Laboratory/internlm2-chat-1_8b",
        "intern2",
    ),
    _entry("InternLM2-7B", "7B", "internlm/internlm2-7b", "Shanghai_AI_Laboratory/internlm2-7b"),
    _entry(
        "InternLM2-7B-Chat", "7B", "internlm/internlm2-chat-7b", "Shanghai_AI_Laboratory/internlm2-chat-7b", "intern2"
    ),
    _entry("InternLM2-20B", "20B", "internlm/internlm2-20b", "Shanghai_AI_Laboratory/internlm2-20b"),
    _entry(
        "InternLM2-20B-Chat",
        "20B",
        "internlm/internlm2-chat-20b",
        "Shanghai_AI_Laboratory/internlm2-chat-20b",
        "intern2",
    ),
    _entry("InternLM2.5-1.8B", "1.8B", "internlm/internlm2_5-1_8b", "Shanghai_AI_Laboratory/internlm2_5-1_8b"),
    _entry(
        "InternLM2.5-1.8B-Chat",
        "1.8B",
        "internlm/internlm2_5-1_8b-chat",
        "Shanghai_AI_Laboratory/internlm2_5-1_8b-chat",
        "intern2",
    ),
    _entry("InternLM2.5-7B", "7B", "internlm/internlm2_5-7b", "Shanghai_AI_Laboratory/internlm2_5-7b"),
    _entry(
        "InternLM2.5-7B-Chat",
        "7B",
        "internlm/internlm2_5-7b-chat",
        "Shanghai_AI_Laboratory/internlm2_5-7b-chat",
        "intern2",
    ),
    _entry(
        "InternLM2.5-7B-1M-Chat",
        "7B",
        "internlm/internlm2_5-7b-chat-1m",
        "Shanghai_AI_Laboratory/internlm2_5-7b-chat-1m",
        "intern2",
    ),
    _entry("InternLM2.5-20B", "20B", "internlm/internlm2_5-20b", "Shanghai_AI_Laboratory/internlm2_5-20b"),
    _entry(
        "InternLM2.5-20B-Chat",
        "20B",
        "internlm/internlm2_5-20b-chat",
        "Shanghai_AI_Laboratory/internlm2_5-20b-chat",
        "intern2",
    ),
)
