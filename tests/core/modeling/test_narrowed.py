"""Frozen layers in 16 bits: the numbers of autocast, and no more memory than the weights take."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from plugtune.modeling.methods import frozen_linears_in
from transformers import AutoModelForCausalLM, LlamaConfig


def mapped(file: Path) -> bool:
    return str(file) in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what is mapped is read from Linux's /proc")
def test_no_view_keeps_the_checkpoints_file_in_memory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).requires_grad_(False)
    ids = torch.tensor([[1, 2, 3]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(input_ids=ids).logits
    assert mapped(tmp_path / "model.safetensors"), "weights in the file's dtype are views of it"
    frozen_linears_in(model, "bfloat16")
    gc.collect()
    assert not mapped(tmp_path / "model.safetensors")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(input_ids=ids).logits, before)
