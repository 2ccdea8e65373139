"""Quantized checkpoints are recognised from their config alone."""

from __future__ import annotations

import pytest
from plugtune.errors import RequestError
from plugtune.modeling.prequantized import check_prequantized
from plugtune.options.reader import read_request
from plugtune.training.planner import make_plan

GPTQ = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}


def plan(host, flags: str = ""):
    request = f"--do_train --model_name_or_path m --dataset d --output_dir o {flags}"
    return make_plan(read_request(request.split()), host)


def test_the_adapter_is_trained_and_quantization_bit_does_not_apply(host):
    made = plan(host, "--quantization_bit 4")
    check_prequantized(made, GPTQ, found=lambda module: True)
    assert made.model.quantization_bit is None
    assert any("quantization_bit 4 does not apply" in note for note in made.notes)
    assert any("cannot be merged exactly" in note for note in made.notes)
    assert [choice.value for choice in made.choices if choice.what == "quantization"] == ["gptq 4"]


@pytest.mark.parametrize(("kind", "package"), [("gptq", "gptqmodel"), ("awq", "gptqmodel or autoawq"), ("hqq", "hqq")])
def test_a_missing_library_is_named(host, kind, package):
    with pytest.raises(RequestError, match=f"pip install {package}"):
        check_prequantized(plan(host), {"quantization_config": {"quant_method": kind}}, found=lambda module: False)


def test_whole_weights_of_a_quantized_model_are_not_trained(host):
    with pytest.raises(RequestError, match="method full trains whole weights"):
        check_prequantized(plan(host, "--finetuning_type full"), GPTQ, found=lambda module: True)


def test_a_plain_model_is_left_alone(host):
    made = plan(host)
    before = (list(made.notes), list(made.choices))
    check_prequantized(made, {"model_type": "llama"})
    assert (made.notes, made.choices) == before
