"""Methods train what they say; a merge equals peft's and the unmerged model's logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from plugtune.capabilities import load_ref
from plugtune.errors import RequestError
from plugtune.inference.export import run_export
from plugtune.modeling.locate import check_weights
from plugtune.modeling.methods import MethodContext, check_targets
from plugtune.options.groups import ModelOptions
from plugtune.options.reader import read_request
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def prepared(host, model, name: str, **options):
    method = host.catalog.get("method", name)
    own = method.options(**options) if method.options else None
    return load_ref(method.prepare)(model, MethodContext(own, ModelOptions(), host.catalog.get("family", "llama")))


@pytest.fixture
def model(model_dir):
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)


def trained(model) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_full_trains_everything(host, model):
    assert len(trained(prepared(host, model, "full"))) == len(list(model.parameters()))


def test_freeze_trains_the_last_or_first_blocks_and_extras(host, model):
    names = trained(
        prepared(
            host,
            model,
            "freeze",
            freeze_trainable_layers=1,
            freeze_trainable_modules=["mlp"],
            freeze_extra_modules=["norm"],
        )
    )
    assert names == {f"model.layers.1.mlp.{n}_proj.weight" for n in ("gate", "up", "down")} | {"model.norm.weight"}
    assert all(".layers.0." in n for n in trained(prepared(host, model, "freeze", freeze_trainable_layers=-1)))
    with pytest.raises(RequestError, match="no module is named 'mpl'"):
        prepared(host, model, "freeze", freeze_trainable_modules=["mpl"])


def test_lora_targets_every_linear_layer_but_the_head(host, model):
    names = trained(prepared(host, model, "lora"))
    assert {n.split(".lora_")[0].rpartition(".")[2] for n in names} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert not any("lm_head" in n for n in names)


def test_a_misspelt_target_offers_near_names(model):
    with pytest.raises(RequestError, match="did you mean 'q_proj'"):
        check_targets(model, ["q_prj"], None, "lora_target")


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True}, {"use_dora": True}, {"additional_target": ["embed_tokens"]}]
)
def test_a_streamed_merge_equals_peft_and_the_unmerged_model(host, model_dir, tmp_path, options):
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    if "additional_target" in options:
        base = untied(base, tmp_path / "base", model_dir)
    source = tmp_path / "base" if "additional_target" in options else model_dir
    adapted = prepared(host, base, "lora", **options)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and "magnitude" not in name:
            parameter.data += 0.05 * torch.randn_like(parameter)
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[5, 9, 20, 31]])
    expected = adapted.eval()(input_ids=ids).logits
    request = read_request(
        f"--model_name_or_path {source} --adapter_name_or_path {tmp_path / 'adapter'} --export_dir {tmp_path / 'out'}".split()
    )
    report = run_export(request, host)
    assert report.folder == tmp_path / "out"
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert (merged.eval()(input_ids=ids).logits - expected).abs().max() < 1e-4
    theirs = adapted.merge_and_unload().state_dict()
    for name, tensor in merged.state_dict().items():
        assert torch.allclose(tensor, theirs[name], atol=1e-6), name


def untied(base, folder: Path, model_dir: Path):
    from transformers import AutoTokenizer

    config = base.config
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_dir).save_pretrained(folder)
    return fresh


def test_shards_are_no_larger_than_asked_and_the_index_names_every_tensor(host, model_dir, tmp_path):
    from plugtune_export_merged.weights import ShardWriter

    writer = ShardWriter(tmp_path, 1000)
    tensors = {f"t{n}": torch.full((100,), float(n)) for n in range(7)}
    for name, tensor in tensors.items():
        writer.add(name, tensor)
    files = writer.close()
    assert files == [f"model-{n:05d}-of-00004.safetensors" for n in range(1, 5)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(tensors)
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], tensors[name])


def test_an_export_never_writes_into_a_taken_folder_nor_leaves_half_a_one(host, model_dir, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("x")
    with pytest.raises(RequestError, match="not empty"):
        run_export(read_request(f"--model_name_or_path {model_dir} --export_dir {tmp_path / 'taken'}".split()), host)
    bad = tmp_path / "adapter"
    bad.mkdir()
    (bad / "adapter_config.json").write_text("{")
    with pytest.raises(RequestError, match="cannot be read"):
        run_export(
            read_request(
                f"--model_name_or_path {model_dir} --adapter_name_or_path {bad} --export_dir {tmp_path / 'new'}".split()
            ),
            host,
        )
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / ".new.part").exists()


def test_truncated_weights_are_found_before_anything_is_loaded(model_dir, tmp_path):
    shutil.copytree(model_dir, tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RequestError, match="its header promises"):
        check_weights(tmp_path / "m")
    file.write_bytes(b"\x00\x01")
    with pytest.raises(RequestError, match="cut off"):
        check_weights(tmp_path / "m")


def test_frozen_layers_in_the_dtype_of_autocast_give_the_same_numbers(model_dir):
    """Under autocast a linear layer casts its weight in every pass: keeping it cast changes no number."""
    import torch
    from plugtune.modeling.methods import frozen_linears_in
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).requires_grad_(False)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(input_ids=ids).logits
    frozen_linears_in(model, "bfloat16")
    kept = {str(p.dtype) for n, p in model.named_parameters() if n.endswith("q_proj.weight")}
    assert kept == {"torch.bfloat16"}
    assert model.get_input_embeddings().weight.dtype == torch.float32, "tied to the head and not computed in bf16"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(input_ids=ids).logits, before)
    assert model(input_ids=ids).logits.dtype == torch.float32, "outside autocast the layers cast by themselves"
