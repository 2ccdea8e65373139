"""Published checkpoints of Baichuan2 and Baichuan: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("Baichuan2-7B-Base", "7B", "baichuan-inc/Baichuan2-7B-Base", "baichuan-inc/Baichuan2-7B-Base"),
    _entry("Baichuan2-7B-Chat", "7B", "baichuan-inc/Baichuan2-7B-Chat", "baichuan-inc/Baichuan2-7B-Chat", "baichuan2"),
    _entry("Baichuan2-13B-Base", "13B", "baichuan-inc/Baichuan2-13B-Base", "baichuan-inc/Baichuan2-13B-Base"),
    _entry(
        "Baichuan2-13B-Chat", "13B", "baichuan-inc/Baichuan2-13B-Chat", "baichuan-inc/Baichuan2-13B-Chat", "baichuan2"
    ),
    _entry("Baichuan-7B-Base", "7B", "baichuan-inc/Baichuan-7B", "baichuan-inc/baichuan-7B"),
    _entry("Baichuan-13B-Base", "13B", "baichuan-inc/Baichuan-13B-Base", "baichuan-inc/Baichuan-13B-Base"),
    _entry("Baichuan-13B-Chat", "13B", "baichuan-inc/Baichuan-13B-Chat", "baichuan-inc/Baichuan-13B-Chat", "baichuan"),
)
