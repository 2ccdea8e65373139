"""Reads a peft LoRA adapter and gives the change of each base weight. Holds one adapter, never a model."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from plugtune import RequestError
from safetensors.torch import load_file

PREFIX = "base_model.model."


@dataclass(slots=True)
class Adapter:
    """An adapter's tensors by the name of the base weight that they change.

    Attributes:
        pairs: base weight → (A `(rank, in)`, B `(out, rank)`).
        magnitudes: base weight → DoRA magnitude `(out,)`.
        replaced: base weight → the weight that replaces it (`modules_to_save`).
    """

    config: dict[str, Any]
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    magnitudes: dict[str, torch.Tensor] = field(default_factory=dict)
    replaced: dict[str, torch.Tensor] = field(default_factory=dict)
    embeddings: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Base weights that it changes."""
        return {*self.pairs, *self.replaced, *self.embeddings}

    def apply(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The merged weight, in the dtype of the base; the sum is made in fp32."""
        if name in self.replaced:
            return self.replaced[name].to(weight.dtype)
        if name in self.embeddings:
            a, b = self.embeddings[name]
            delta = (b.float() @ a.float()).T * self._scale(name, a.shape[0])
            return (weight.float() + delta).to(weight.dtype)
        if name not in self.pairs:
            return weight
        a, b = self.pairs[name]
        delta = (b.float() @ a.float()).mul_(self._scale(name, a.shape[0]))
        if self.config.get("fan_in_fan_out"):
            delta = delta.T
        merged = delta.add_(weight)
        if name in self.magnitudes:
            norm = torch.linalg.norm(merged, dim=1)
            merged = merged * (self.magnitudes[name].float() / norm).unsqueeze(1)
        return merged.to(weight.dtype)

    def _scale(self, name: str, rank: int) -> float:
        alpha = self.config.get("lora_alpha", rank)
        for pattern, value in (self.config.get("alpha_pattern") or {}).items():
            if re.search(rf"(^|\.){pattern}(\.|$)", name):
                alpha = value
        return float(alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank))


def is_lora(folder: Path) -> bool:
    """Whether a folder holds a LoRA adapter, which can be merged tensor by tensor; unreadable ones are judged later."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return config.get("peft_type") == "LORA"


def trained_over_bits(folders: Sequence[Path]) -> str:
    """What is to be known of adapters that were trained over a base quantized on loading; empty without such."""
    found = []
    for folder in folders:
        try:
            options = json.loads((folder / "run.json").read_text(encoding="utf-8"))["options"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        bits = next((group.get("quantization_bit") for group in options.values() if isinstance(group, dict)
                     and group.get("quantization_bit")), None)  # fmt: skip
        if bits:
            found.append(f"{folder.name} ({bits} bits)")
    if not found:
        return ""
    return (
        f"trained over a quantized base and merged into the whole one: {', '.join(found)}; its answers can differ a "
        "little from those in training, where the base was rounded (check with plugtune eval, or serve base and "
        "adapter as they were trained, with --quantization_bit)"
    )


def read_adapter(folder: Path) -> Adapter:
    """The adapter of a folder.

    Raises:
        RequestError: it is missing, broken, or of a kind that this exporter cannot merge.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "adapter_model.safetensors")
    except Exception as error:  # missing files, broken JSON, broken safetensors
        raise RequestError(f"adapter {folder} cannot be read", where="adapter_name_or_path", why=str(error)) from error
    if config.get("peft_type") != "LORA":
        raise RequestError(f"adapter {folder} is {config.get('peft_type')}, and only LoRA can be merged here")
    adapter = Adapter(config)
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(PREFIX)
        match = re.fullmatch(r"(.+)\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)(?:\.weight)?", name)
        if match:
            halves.setdefault(f"{match[1]}.weight", {})[match[2]] = tensor
        else:
            adapter.replaced[name.replace(".modules_to_save", "")] = tensor
    for name, parts in halves.items():
        if "A" in parts:
            adapter.pairs[name] = (parts["A"], parts["B"])
        if "embedding_A" in parts:
            adapter.embeddings[name] = (parts["embedding_A"], parts["embedding_B"])
        if "magnitude_vector" in parts:
            adapter.magnitudes[name] = parts["magnitude_vector"]
    return adapter
