"""Training on a 4-bit base on a CPU: an evaluation in between must not change the gradients (a silent trap of bitsandbytes)."""

from __future__ import annotations

import pytest
import torch
from plugtune.capabilities import load_ref
from plugtune.modeling.load import load_model
from plugtune.modeling.locate import locate
from plugtune.modeling.methods import MethodContext
from plugtune.modeling.request import ModelRequest
from plugtune.options.groups import ModelOptions

pytest.importorskip("bitsandbytes")


def gradient_norm(model, ids) -> float:
    model.zero_grad()
    model.train()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return float(sum(p.grad.float().norm() for p in model.parameters() if p.grad is not None))


@pytest.mark.parametrize("bits", [4, 8])
def test_gradients_are_the_same_before_and_after_an_evaluation(host, model_dir, bits):
    options = ModelOptions(model_name_or_path=str(model_dir), quantization_bit=bits)
    located = locate(options, host.catalog)
    model = load_model(ModelRequest(located, options, "float32", training=True), host)
    assert not any(getattr(m, "support_avx512bf16_for_cpu", False) for m in model.modules())
    method = host.catalog.get("method", "lora")
    torch.manual_seed(0)
    model = load_ref(method.prepare)(model, MethodContext(method.options(), options, located.family))
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])
    before = gradient_norm(model, ids)
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    assert gradient_norm(model, ids) == pytest.approx(before, rel=1e-5)
    assert before > 0
