"""Published checkpoints of the LLaMA architecture: name, size, hub ids, template of chat models."""

from __future__ import annotations

from plugtune import ModelEntry


def _entry(name: str, size: str, repository: str, mirror: str, template: str = "") -> ModelEntry:
    hub = {"huggingface": repository, "modelscope": mirror}
    return ModelEntry(name, size, hub, chat=bool(template), template=template)


MODELS = (
    _entry("LLaMA-7B", "7B", "huggyllama/llama-7b", "skyline2006/llama-7b"),
    _entry("LLaMA-13B", "13B", "huggyllama/llama-13b", "skyline2006/llama-13b"),
    _entry("LLaMA-30B", "30B", "huggyllama/llama-30b", "skyline2006/llama-30b"),
    _entry("LLaMA-65B", "65B", "huggyllama/llama-65b", "skyline2006/llama-65b"),
    _entry("Llama-2-7B", "7B", "meta-llama/Llama-2-7b-hf", "modelscope/Llama-2-7b-ms"),
    _entry("Llama-2-7B-Chat", "7B", "meta-llama/Llama-2-7b-chat-hf", "modelscope/Llama-2-7b-chat-ms", "llama2"),
    _entry("Llama-2-13B", "13B", "meta-llama/Llama-2-13b-hf", "modelscope/Llama-2-13b-ms"),
    _entry("Llama-2-13B-Chat", "13B", "meta-llama/Llama-2-13b-chat-hf", "modelscope/Llama-2-13b-chat-ms", "llama2"),
    _entry("Llama-2-70B", "70B", "meta-llama/Llama-2-70b-hf", "modelscope/Llama-2-70b-ms"),
    _entry("Llama-2-70B-Chat", "70B", "meta-llama/Llama-2-70b-chat-hf", "modelscope/Llama-2-70b-chat-ms", "llama2"),
    _entry("Llama-3-8B", "8B", "meta-llama/Meta-Llama-3-8B", "LLM-Research/Meta-Llama-3-8B"),
    _entry(
        "Llama-3-8B-Instruct",
        "8B",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "LLM-Research/Meta-Llama-3-8B-Instruct",
        "llama3",
    ),
    _entry("Llama-3-70B", "70B", "meta-llama/Meta-Llama-3-70B", "LLM-Research/Meta-Llama-3-70B"),
    _entry(
        "Llama-3-70B-Instruct",
        "70B",
        "meta-llama/Meta-Llama-3-70B-Instruct",
        "LLM-Research/Meta-Llama-3-70B-Instruct",
        "llama3",
    ),
    _entry("Llama-3.1-8B", "8B", "meta-llama/Meta-Llama-3.1-8B", "LLM-Research/Meta-Llama-3.1-8B"),
    _entry(
        "Llama-3.1-8B-Instruct",
        "8B",
        "meta-llama/Meta-Llama-3.1-8B-Instruct",
        "LLM-Research/Meta-Llama-3.1-8B-Instruct",
        "llama3",
    ),
    _entry("Llama-3.1-70B", "70B", "meta-llama/Meta-Llama-3.1-70B", "LLM-Research/Meta-Llama-3.1-70B"),
    _entry(
        "Llama-3.1-70B-Instruct",
        "70B",
        "meta-llama/Meta-Llama-3.1-70B-Instruct",
        "LLM-Research/Meta-Llama-3.1-70B-Instruct",
        "llama3",
    ),
    _entry("Llama-3.1-405B", "405B", "meta-llama/Meta-Llama-3.1-405B", "LLM-Research/Meta-Llama-3.1-405B"),
    _entry(
        "Llama-3.1-405B-Instruct",
        "405B",
        "meta-llama/Meta-Llama-3.1-405B-Instruct",
        "LLM-Research/Meta-Llama-3.1-405B-Instruct",
        "llama3",
    ),
    _entry("Llama-3.2-1B", "1B", "meta-llama/Llama-3.2-1B", "LLM-Research/Llama-3.2-1B"),
    _entry(
        "Llama-3.2-1B-Instruct",
        "1B",
        "meta-llama/Llama-3.2-1B-Instruct",
        "LLM-Research/Llama-3.2-1B-Instruct",
        "llama3",
    ),
    _entry("Llama-3.2-3B", "3B", "meta-llama/Llama-3.2-3B", "LLM-Research/Llama-3.2-3B"),
    _entry(
        "Llama-3.2-3B-Instruct",
        "3B",
        "meta-llama/Llama-3.2-3B-Instruct",
        "LLM-Research/Llama-3.2-3B-Instruct",
        "llama3",
    ),
    _entry(
        "Llama-3.3-70B-Instruct",
        "70B",
        "meta-llama/Llama-3.3-70B-Instruct",
        "LLM-Research/Llama-3.3-70B-Instruct",
        "llama3",
    ),
    _entry("SmolLM-135M", "135M", "HuggingFaceTB/SmolLM-135M", "HuggingFaceTB/SmolLM-135M"),
    _entry(
        "SmolLM-135M-Instruct",
        "135M",
        "HuggingFaceTB/SmolLM-135M-Instruct",
        "HuggingFaceTB/SmolLM-135M-Instruct",
        "smollm",
    ),
    _entry("SmolLM-360M", "360M", "HuggingFaceTB/SmolLM-360M", "HuggingFaceTB/SmolLM-360M"),
    _entry(
        "SmolLM-360M-Instruct",
        "360M",
        "HuggingFaceTB/SmolLM-360M-Instruct",
        "HuggingFaceTB/SmolLM-360M-Instruct",
        "smollm",
    ),
    _entry("SmolLM-1.7B", "1.7B", "HuggingFaceTB/SmolLM-1.7B", "HuggingFaceTB/SmolLM-1.7B"),
    _entry(
        "SmolLM-1.7B-Instruct",
        "1.7B",
        "HuggingFaceTB/SmolLM-1.7B-Instruct",
        "HuggingFaceTB/SmolLM-1.7B-Instruct",
        "smollm",
    ),
    _entry("SmolLM2-135M", "135M", "HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M"),
    _entry(
        "SmolLM2-135M-Instruct",
        "135M",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "smollm2",
    ),
    _entry("SmolLM2-360M", "360M", "HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM2-360M"),
    _entry(
        "SmolLM2-360M-Instruct",
        "360M",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        "smollm2",
    ),
    _entry("SmolLM2-1.7B", "1.7B", "HuggingFaceTB/SmolLM2-1.7B", "HuggingFaceTB/SmolLM2-1.7B"),
    _entry(
        "SmolLM2-1.7B-Instruct",
        "1.7B",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "smollm2",
    ),
)
