"""Every architecture that a family claims: load, LoRA for three steps, merge, and plain transformers sees the same.

The oracle is peft over the base in plain transformers; the merged folder is read by plain transformers too. Types that
hold more than a text model (`gemma3`, `llama4` …) are made whole, as they are published: only the text is trained.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from plugtune.inference.export import run_export
from plugtune.modeling.locate import family_of
from plugtune.modeling.methods import blocks_path
from plugtune.options.reader import read_request
from plugtune.testkit import tiny

ROOT = Path(__file__).parents[2]
QUICK = {"llama", "bloom", "phi3", "mixtral", "gpt2", "exaone"}
ROWS = [{"instruction": f"Question {n}", "output": f"Answer {n} yes"} for n in range(12)]


NOT_HERE = {"gemma3n"}
"""Made whole it needs `timm`, which is not installed; its text type is tested."""


def claims() -> list[Any]:
    """Every type that a family of this tree claims without a layout of its own."""
    plugins = (f"plugtune_{p.name.replace('-', '_')}" for p in (ROOT / "plugins").glob("family-*"))
    families = [family for name in plugins for family in importlib.import_module(name).plugtune_families()]
    kinds = sorted((k, f.name) for f in families if not f.layout for k in f.model_types if k not in NOT_HERE)
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
    assert len(model.get_submodule(blocks_path(model, owner))) >= 2, "the blocks are where the family says"
    assert set(owner.lora_targets) & {name.rpartition(".")[2] for name, _ in model.named_modules()}


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["gemma3", "llama4"])
def test_what_sees_is_not_trained_and_stays_in_the_merged_checkpoint(host, train_here, data_dir, tmp_path, kind):
    from safetensors.torch import load_file

    adapt_and_merge(host, train_here, data_dir, tmp_path, kind)
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert adapter and not [name for name in adapter if "vision" in name]  # noqa: PT018
    base, merged = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "merged"))
    seeing = [name for name in base if "vision" in name or "multi_modal" in name]
    assert seeing
    assert all(base[name].equal(merged[name]) for name in seeing)


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
    owner = family_of({"model_type": kind}, host.catalog)
    if owner is None:
        base.mkdir()
        tiny.write_native(base, kind, tokenizer=tiny.write_tokenizer(base, []))
    else:
        tiny.make(owner.name, base, model_type=kind, host=host)
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
