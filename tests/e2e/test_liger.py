"""Liger's own kernel, run on the processor by Triton's interpreter: the loss and gradients of the plain computation.

It runs where both are installed, which `make test-long` sees to.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.e2e, pytest.mark.long,
    pytest.mark.skipif(
        not (importlib.util.find_spec("liger_kernel") and importlib.util.find_spec("triton")),
        reason="pip install triton liger-kernel",
    ),
]  # fmt: skip

PROGRAM = """
import copy, torch
from plugtune.training import attention, fused_head
from plugtune.training.collate import EndToEndCollator
from plugtune.training.deferred_head import defer_head, deferred
from transformers import AutoModelForCausalLM, LlamaConfig
fused_head.DEVICES, fused_head.DTYPES = ("cpu",), (torch.float32, torch.bfloat16)
cpu = torch.device("cpu")
for dtype in fused_head.DTYPES:
    for bias in (False, True):
        for smoothing in (0.0, 0.1):
            assert fused_head.choose(cpu, dtype, 64, bias, smoothing).kernel.name == "Liger", (dtype, bias, smoothing)
torch.manual_seed(0)
config = LlamaConfig(vocab_size=101, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, tie_word_embeddings=True)
plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
fused = copy.deepcopy(plain)
assert attention.enable(fused)
assert defer_head(fused, 0.0, lambda head: fused_head.choose(cpu, torch.float32, 32, False, 0.0).kernel)
ids = torch.randint(1, 101, (15,), generator=torch.Generator().manual_seed(1)).tolist()
row = {"input_ids": ids, "labels": [-100] * 6 + ids[6:]}
expected = plain(input_ids=torch.tensor([ids]), labels=torch.tensor([row["labels"]]), use_cache=False).loss
with attention.segments(), deferred():
    found = fused(**EndToEndCollator()([row]), use_cache=False, num_items_in_batch=torch.tensor(9)).loss
expected.backward()
found.backward()
torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
for one, two in zip(fused.parameters(), plain.parameters(), strict=True):
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)
print("the same")
"""


def test_a_model_learns_the_same_with_ligers_head():
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("the same")
