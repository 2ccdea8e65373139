"""Every architecture that a family claims: load, LoRA for three steps, merge, and plain transformers sees the same.

The oracle is peft over the base in plain transformers; the merged folder is read by plain transformers too. Types that
hold more than a text model (`gemma3`, `llama4` …) are those of checkpoints whose text part is tested by its own type.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from plugtune.inference.export import run_export
from plugtune.modeling.locate import family_of
from plugtune.options.reader import read_request
from plugtune.testkit import tiny

ROOT = Path(__file__).parents[2]
HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
CONVOLUTION = {"layer_types": ["conv", "full_attention"]}
PER_LAYER = {
    "vocab_size_per_layer_input": 600, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0,
    "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "qwen3_next": HYBRID,
    "qwen3_5_text": HYBRID,
    "qwen3_5_moe_text": HYBRID,
    "kimi_linear": HYBRID,
    "lfm2": CONVOLUTION,
    "lfm2_moe": {**CONVOLUTION, "num_dense_layers": 1},
    "gemma3n_text": PER_LAYER,
    "gemma4_text": PER_LAYER,
    "deepseek_v32": {"q_lora_rank": 16, "index_topk": 8, "index_n_heads": 2, "index_head_dim": 8},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"], "mamba_n_heads": 4, "mamba_d_head": 16, "shared_intermediate_size": 32,
    },
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "dbrx": {
        "d_model": 32, "n_heads": 4, "n_layers": 2,
        "attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    },
}  # fmt: skip
"""Config values beyond the small ones of the kit, for types that cannot do with those."""

QUICK = {"llama", "bloom", "phi3", "mixtral", "gpt2", "exaone"}
WHOLE = {"gemma3", "gemma3n", "gemma4", "llama4", "qwen3_5", "qwen3_5_moe"}
ROWS = [{"instruction": f"Question {n}", "output": f"Answer {n} yes"} for n in range(12)]


def claims() -> list[Any]:
    """Every type that a family of this tree claims without a layout of its own."""
    plugins = (f"plugtune_{p.name.replace('-', '_')}" for p in (ROOT / "plugins").glob("family-*"))
    families = [family for name in plugins for family in importlib.import_module(name).plugtune_families()]
    kinds = sorted((k, f.name) for f in families if not f.layout for k in f.model_types if k not in WHOLE)
    return [pytest.param(f, k, id=k, marks=() if k in QUICK else pytest.mark.e2e) for k, f in kinds]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("family", "kind"), claims())
def test_a_merged_adapter_computes_what_the_adapted_model_does(host, train_here, data_dir, tmp_path, family, kind):
    model, chosen = adapt_and_merge(host, train_here, data_dir, tmp_path, kind)
    owner = host.catalog.get("family", family)
    assert not set(owner.unadapted) & set(chosen["target_modules"]), "what the family leaves alone is not adapted"
    assert not chosen["target_parameters"], "routed experts are not adapted"
    assert len(model.get_submodule(owner.blocks)) >= 2, "the blocks are where the family says"
    assert set(owner.lora_targets) & {name.rpartition(".")[2] for name, _ in model.named_modules()}


def test_a_type_that_no_family_claims_is_trained_all_the_same(host, train_here, data_dir, tmp_path):
    assert family_of({"model_type": "helium"}, host.catalog) is None
    _, chosen = adapt_and_merge(host, train_here, data_dir, tmp_path, "helium")
    assert {"q_proj", "down_proj"} <= set(chosen["target_modules"])


def adapt_and_merge(host, train_here, data_dir: Path, tmp_path: Path, kind: str) -> tuple[Any, dict[str, Any]]:
    """Train, merge and compare; the merged model and the adapter's config."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base, adapter, merged = tmp_path / "base", tmp_path / "adapter", tmp_path / "merged"
    base.mkdir()
    tokenizer = tiny.write_tokenizer(base, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    tiny.write_native(base, kind, tokenizer=tokenizer, **SIZES.get(kind, {}))
    train_here(
        adapter, model_name_or_path=base, dataset="rows", dataset_dir=data_dir, template="default", max_steps=3,
        learning_rate=1e-2, per_device_train_batch_size=4, lora_rank=4,
    )  # fmt: skip
    values = {"model_name_or_path": base, "adapter_name_or_path": adapter, "export_dir": merged, "template": "default"}
    run_export(read_request([f"{name}={value}" for name, value in values.items()]), host)
    ids = torch.randint(5, 400, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(base).eval()
        before = model(input_ids=ids).logits.clone()
        adapted = PeftModel.from_pretrained(model, adapter).eval()(input_ids=ids).logits
        whole = AutoModelForCausalLM.from_pretrained(merged).eval()
        after = whole(input_ids=ids).logits
    assert (adapted - before).abs().max() > 1e-3, "three steps move the model"
    assert (after - adapted).abs().max() < 1e-5
    return whole, json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))


def test_the_run_says_how_much_of_a_mixture_of_experts_is_not_trained(train_here, data_dir, tmp_path, capsys):
    base = tmp_path / "base"
    base.mkdir()
    model = tiny.write_native(base, "mixtral", tokenizer=tiny.write_tokenizer(base, []))
    frozen = sum(p.numel() for n, p in model.named_parameters() if ".experts." in n)
    train_here(
        tmp_path / "run", model_name_or_path=base, dataset="rows", dataset_dir=data_dir, template="default", max_steps=1
    )
    assert f"{frozen:,} weights of routed experts stay as they are" in capsys.readouterr().err
