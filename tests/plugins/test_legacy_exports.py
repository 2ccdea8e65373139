"""Adapters on old families: original module names, merging into native and original layouts, 4-bit bases."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from plugtune.capabilities import load_ref
from plugtune.errors import RequestError
from plugtune.inference.export import run_export
from plugtune.modeling.load import load_model
from plugtune.modeling.locate import locate
from plugtune.modeling.methods import MethodContext, check_targets
from plugtune.modeling.request import ModelRequest
from plugtune.options.groups import ModelOptions
from plugtune.options.reader import read_request
from plugtune.testkit import tiny
from safetensors.torch import load_file

NATIVE = {
    "chatglm3": "GlmForCausalLM", "qwen1": "Qwen2ForCausalLM", "baichuan2": "LlamaForCausalLM", "baichuan2-13b": "",
    "internlm2": "LlamaForCausalLM", "xverse": "LlamaForCausalLM", "yuan2": "", "deepseek-moe": "",
}  # fmt: skip
"""Family → the class of transformers that computes the same; empty where there is none."""
FUSED = {
    "chatglm3": ("query_key_value", "query_key_value"), "qwen1": ("c_attn", "c_attn"), "baichuan2": ("W_pack", "W_pack"),
    "baichuan2-13b": ("W_pack", "W_pack"), "internlm2": ("wqkv", "wqkv"), "xverse": ("q_proj", "q_proj"),
    "yuan2": ("q_proj", "q_proj"), "deepseek-moe": ("q_proj", "q_proj"),
}  # fmt: skip
"""Family → the LoRA target that its users type, and the part of the original tensors' names that it changes."""
IDS = torch.randint(10, 400, (1, 24), generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("originals")
    for name in NATIVE:
        maker = importlib.import_module(f"plugtune_family_{name.removesuffix('-13b').replace('-', '_')}.tiny")
        config = maker.LARGE if name.endswith("-13b") else maker.CONFIG
        (root / name).mkdir()
        tiny.write_original(root / name, config, maker.shapes(config), 5)
        tiny.write_tokenizer(root / name, [])
        (root / name / "modeling_of_old.py").write_text("# the original code\n")
    return {name: root / name for name in NATIVE}


@pytest.fixture(params=NATIVE)
def family(request) -> str:
    return request.param


def adapted(folder: Path, host, target: str, **options):
    """A model with a LoRA adapter whose B matrices are random, as after training."""
    model_options = ModelOptions(model_name_or_path=str(folder), **options)
    located = locate(model_options, host.catalog)
    model = load_model(ModelRequest(located, model_options, "float32", training=True), host)
    method = host.catalog.get("method", "lora")
    chosen = method.options(lora_target=[target])
    model = load_ref(method.prepare)(model, MethodContext(chosen, model_options, located.family))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def export(host, base: Path, adapter: Path | None, target: Path, exporter: str):
    given = ["--model_name_or_path", str(base), "--export_dir", str(target), "--exporter", exporter]
    return run_export(read_request([*given, *(["--adapter_name_or_path", str(adapter)] if adapter else [])]), host)


def logits_of(folder: Path, host) -> torch.Tensor:
    options = ModelOptions(model_name_or_path=str(folder))
    model = load_model(ModelRequest(locate(options, host.catalog), options, "float32"), host).eval()
    with torch.no_grad():
        return model(IDS).logits


def test_a_merged_model_needs_no_plugtune_where_a_native_class_exists(family, originals, host, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = adapted(originals[family], host, "all")
    model.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = model(IDS).logits
        assert (expected - logits_of(originals[family], host)).abs().max() > 0.05
    report = export(host, originals[family], tmp_path / "adapter", tmp_path / "merged", "merged")
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert "auto_map" not in config
    if NATIVE[family]:
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
        assert type(plain).__name__ == NATIVE[family]
        assert type(plain).__module__.startswith("transformers.")
        with torch.no_grad():
            assert (plain(IDS).logits - expected).abs().max() < 1e-4
    else:
        assert any("keeps the original layout" in note for note in report.notes)
        assert config["model_type"] == json.loads((originals[family] / "config.json").read_text())["model_type"]
    assert (logits_of(tmp_path / "merged", host) - expected).abs().max() < (2e-4 if family == "yuan2" else 1e-4)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged")) > 256


def test_the_native_exporter_converts_or_says_why_it_cannot(family, originals, host, tmp_path):
    if not NATIVE[family]:
        with pytest.raises(RequestError, match="no class of transformers"):
            export(host, originals[family], None, tmp_path / "native", "native")
        assert not (tmp_path / "native").exists()
        return
    export(host, originals[family], None, tmp_path / "native", "native")
    assert (logits_of(tmp_path / "native", host) - logits_of(originals[family], host)).abs().max() < 1e-4


def test_merging_into_the_original_layout_touches_only_what_was_trained(family, originals, host, tmp_path):
    target, part = FUSED[family]
    model = adapted(originals[family], host, target)
    model.save_pretrained(tmp_path / "adapter")
    export(host, originals[family], tmp_path / "adapter", tmp_path / "old", "original-layout")
    before, after = (load_file(folder / "model.safetensors") for folder in (originals[family], tmp_path / "old"))
    assert list(before) == list(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if f".{part}.weight" in name}
    old, new = (json.loads((folder / "config.json").read_text()) for folder in (originals[family], tmp_path / "old"))
    assert old == {key: new[key] for key in old}
    assert (tmp_path / "old" / "modeling_of_old.py").is_file()
    with torch.no_grad():
        assert (logits_of(tmp_path / "old", host) - model(IDS).logits).abs().max() < 2e-4


def test_a_saved_adapter_opens_on_the_same_base(family, originals, host, tmp_path):
    model = adapted(originals[family], host, "all")
    model.save_pretrained(tmp_path)
    options = ModelOptions(model_name_or_path=str(originals[family]))
    located = locate(options, host.catalog)
    method = host.catalog.get("method", "lora")
    base = load_model(ModelRequest(located, options, "float32"), host)
    context = MethodContext(method.options(), options, located.family, (tmp_path,), training=False)
    again = load_ref(method.prepare)(base, context).eval()
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, model(IDS).logits)


def test_original_module_names_stand_for_native_ones(family, originals, host):
    options = ModelOptions(model_name_or_path=str(originals[family]))
    located = locate(options, host.catalog)
    model = load_model(ModelRequest(located, options, "float32"), host)
    for old, new in located.family.target_aliases.items():
        assert check_targets(model, [old], located.family, "lora_target") == list(new)
    assert set(check_targets(model, ["all"], located.family, "lora_target")) <= {
        *located.family.lora_targets,
        "up_proj",
    }


def test_a_4_bit_base_trains_every_adapter_matrix(family, originals, host):
    pytest.importorskip("bitsandbytes")
    import bitsandbytes

    model = adapted(originals[family], host, "all", quantization_bit=4)
    quantized = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(quantized) >= 10
    model.train()
    model(input_ids=IDS, labels=IDS).loss.backward()
    grads = [p.grad for name, p in model.named_parameters() if "lora_" in name]
    assert all(g is not None and g.abs().max() > 0 for g in grads)
    with torch.no_grad(), model.disable_adapter():
        both = torch.stack([logits_of(originals[family], host).flatten(), model.eval()(IDS).logits.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_a_native_checkpoint_has_no_other_layout(model_dir, host, tmp_path):
    with pytest.raises(RequestError, match="no layout besides the native one"):
        export(host, model_dir, None, tmp_path / "old", "original-layout")
