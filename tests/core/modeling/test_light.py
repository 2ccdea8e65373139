"""bitsandbytes without torch's compiler, and functions that are compiled when they are first called."""

from __future__ import annotations

import subprocess
import sys

import torch
from plugtune.modeling.light import compiled_at_first_call

SCRIPT = """
import sys
from plugtune.modeling.light import import_bitsandbytes
import_bitsandbytes()
import bitsandbytes, torch
print("torch._inductor.compile_fx" in sys.modules)
w = torch.randn(64, 64)
packed, state = bitsandbytes.functional.quantize_4bit(w, quant_type="nf4")
print(float((bitsandbytes.functional.dequantize_4bit(packed, state) - w).abs().max() / w.abs().max()) < 0.2)
"""


def test_bitsandbytes_comes_without_the_compiler_and_quantizes() -> None:
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout.split()
    assert answer == ["False", "True"]


def test_a_function_is_compiled_as_asked_when_it_is_called() -> None:
    compiled: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        compiled.append("now")
        return graph.forward

    with compiled_at_first_call():
        direct = torch.compile(lambda x: x * 2 + 1, backend=backend)

        @torch.compile(backend=backend)
        def decorated(x: torch.Tensor) -> torch.Tensor:
            """Doubles."""
            return x * 2

    assert not compiled
    assert torch.equal(direct(torch.ones(3)), torch.full((3,), 3.0))
    assert len(compiled) == 1
    assert torch.equal(decorated(torch.ones(3)), torch.full((3,), 2.0))
    assert len(compiled) == 2
    assert decorated.__doc__ == "Doubles."


def test_torch_compile_is_itself_again_afterwards() -> None:
    own = torch.compile
    with compiled_at_first_call():
        module = torch.compile(torch.nn.Linear(2, 2), backend="eager")
    assert torch.compile is own
    assert isinstance(module, torch.nn.Module)
