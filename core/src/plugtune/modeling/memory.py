"""Estimates memory from a config in closed form, and says what this machine has. Bytes throughout.

Formula: weights P·b; gradients 4·P_t and Adam states 8·P_t for P_t trained parameters in fp32; activations per layer
about T·(34·H)·b/2 without checkpointing (attention never makes a T × T matrix here) and T·H·b with it, T being the
tokens of a batch; logits T·V·(b + 8) at trained positions. After Korthikanti et al. 2022 (arXiv:2205.05198), section 4.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All parts together."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def estimate(
    config: dict[str, Any], *, parameters: int, trained: int, tokens: int, weight_bytes: float, compute_bytes: int,
    checkpointing: bool,
) -> Estimate:  # fmt: skip
    """Memory of a training step over `tokens` tokens."""
    hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 0)
    vocabulary = int(config.get("vocab_size") or 0)
    per_layer = tokens * hidden * (compute_bytes if checkpointing else 34 * compute_bytes // 2 + 2 * compute_bytes)
    one_layer_again = tokens * hidden * 34 * compute_bytes // 2 if checkpointing else 0
    return Estimate(
        weights=int(parameters * weight_bytes),
        gradients=4 * trained,
        optimizer=8 * trained,
        activations=layers * per_layer + one_layer_again,
        logits=tokens * vocabulary * (compute_bytes + 8),
    )


def available_memory() -> int:
    """Bytes that the device of a run can still give: the GPU's free memory, else this machine's."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
