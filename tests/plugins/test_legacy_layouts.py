"""Checkpoints in the original layouts compute what the original maths says, and come back as they were."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from legacy_reference import FORWARD
from plugtune.errors import RequestError
from plugtune.modeling.layout import open_layout
from plugtune.modeling.load import load_model
from plugtune.modeling.locate import locate
from plugtune.modeling.request import ModelRequest
from plugtune.options.groups import ModelOptions
from plugtune.testkit import tiny
from safetensors.torch import load_file

OF = {
    "baichuan2-13b": ("baichuan2", "LARGE", {}),
    # The first Baichuan: no normalised head; of the 13B models only the size of the vocabulary tells.
    "baichuan-7b": ("baichuan2", "CONFIG", {"architectures": ["BaiChuanForCausalLM"]}),
    "baichuan-13b": ("baichuan2", "LARGE", {"vocab_size": 64000}),
    "chatglm3-32k": ("chatglm3", "CONFIG", {"rope_ratio": 50, "seq_length": 32768}),
}
"""Siblings: the family, the config of its maker, what is otherwise in config.json."""
FAMILIES = ("chatglm3", "qwen1", "baichuan2", "internlm2", "xverse", "yuan2", "deepseek-moe", *OF)
SHORT = 32
"""What the tiny Qwen and InternLM2 count as their training length, so that a test can go past it."""


@pytest.fixture(scope="session")
def originals(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("originals")
    for name in FAMILIES:
        family, made, changes = OF.get(name, (name, "CONFIG", {}))
        maker = importlib.import_module(f"plugtune_family_{family.replace('-', '_')}.tiny")
        config = getattr(maker, made) | changes
        (root / name).mkdir()
        tiny.write_original(root / name, config, maker.shapes(config), 3)
        config = json.loads((root / name / "config.json").read_text())
        if name == "qwen1":
            config["seq_length"] = SHORT
        if name == "internlm2":
            config["max_position_embeddings"] = SHORT
        (root / name / "config.json").write_text(json.dumps(config))
    return {name: root / name for name in FAMILIES}


def opened(folder: Path, host, **options):
    model_options = ModelOptions(model_name_or_path=str(folder), **options)
    return load_model(ModelRequest(locate(model_options, host.catalog), model_options, "float32"), host)


def reference(folder: Path, ids: torch.Tensor, *, training: bool = False):
    config = json.loads((folder / "config.json").read_text())
    tensors = {k: v.requires_grad_() for k, v in load_file(folder / "model.safetensors").items()}
    return FORWARD[config["model_type"]](tensors, config, ids, training), tensors


def some_ids(rows: int, tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(10, 400, (rows, tokens), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


def layout_of(family: str, host):
    return open_layout(host.catalog.get("family", OF.get(family, (family,))[0]))


def test_loss_and_every_gradient_are_those_of_the_original(family, originals, host):
    ids = some_ids(2, 20)
    model = opened(originals[family], host).train()
    output = model(input_ids=ids, labels=ids)
    output.loss.backward()
    expected, tensors = reference(originals[family], ids, training=True)
    loss = torch.nn.functional.cross_entropy(expected[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    assert (output.logits - expected).abs().max() < (2e-4 if family == "yuan2" else 1e-4)
    assert abs(output.loss.item() - loss.item()) < 1e-5
    layout, grads = layout_of(family, host), {n: p.grad for n, p in model.named_parameters()}
    for name, tensor in tensors.items():
        parts = [part for part, _ in layout.to_native(name, tensor.detach(), model.config)]
        if tensor.grad is None or not all(part in grads for part in parts):
            continue  # a buffer, or one of many experts that became one tensor
        if "embed" in name and model.get_input_embeddings().padding_idx is not None:
            tensor.grad[model.get_input_embeddings().padding_idx] = 0  # LLaMA's way, and the originals'
        ours = layout.to_original(name, [grads[part] for part in parts], model.config)
        assert torch.allclose(ours, tensor.grad, rtol=1e-3, atol=2e-5), name


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_in_evaluation_also_past_the_training_length_and_behind_padding(family, originals, host, attention):
    folder = originals[family]
    model = opened(folder, host, flash_attn=attention).eval()
    long, short = some_ids(1, 75, 1), some_ids(1, 20, 2)
    limit = 2e-4 if family == "yuan2" else 1e-4
    with torch.no_grad():
        wanted = [reference(folder, ids)[0] for ids in (long, short)]
        assert (model(input_ids=long).logits - wanted[0]).abs().max() < limit
        if family == "internlm2":  # the original, too, scales by the length of the padded batch
            long, wanted[0] = long[:, :25], reference(folder, long[:, :25])[0]
        a, b = 5, long.shape[1] + 5 - 20
        batch = torch.stack([torch.cat([torch.zeros(n, dtype=int), ids[0]]) for n, ids in ((a, long), (b, short))])
        mask = torch.tensor([[0] * a + [1] * long.shape[1], [0] * b + [1] * 20])
        logits = model(input_ids=batch, attention_mask=mask).logits
    assert (logits[:1, a:] - wanted[0]).abs().max() < limit
    assert (logits[1:, b:] - wanted[1]).abs().max() < limit


def test_greedy_generation_with_the_cache_equals_computing_everything_again(family, originals, host):
    folder = originals[family]
    model = opened(folder, host).eval()
    prompt = some_ids(2, 9, 4)
    made = model.generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    for row, start in zip(made, prompt, strict=True):
        ids = start[None]
        with torch.no_grad():
            for _ in range(12):
                ids = torch.cat([ids, reference(folder, ids)[0][:, -1:].argmax(-1)], 1)
        assert row.tolist() == ids[0].tolist()


def test_rows_of_one_batch_join_and_leave_with_their_own_state(originals, host):
    from plugtune.inference.batch import Batch, Row, complete
    from plugtune.inference.sampling import Sampling

    prompts = [some_ids(1, length, length)[0].tolist() for length in (40, 9, 70)]
    for family in ("qwen1", "yuan2"):
        model = opened(originals[family], host).eval()
        rows = [
            Row(prompt, Sampling(temperature=0, max_new_tokens=n)) for prompt, n in zip(prompts, (8, 3, 9), strict=True)
        ]
        batch = Batch(model, 0)
        batch.add(rows[:1])
        batch.step()
        complete(batch, rows[1:])
        for row in rows:
            ids = torch.tensor([row.prompt])
            alone = model.generate(ids, max_new_tokens=len(row.ids), do_sample=False, eos_token_id=None, pad_token_id=0)
            assert row.ids == alone[0, ids.shape[1] :].tolist()


def test_beams_keep_their_own_state(originals, host):
    model = opened(originals["yuan2"], host).eval()
    prompt, settings = some_ids(2, 6, 5), {"num_beams": 3, "max_new_tokens": 8, "eos_token_id": None, "pad_token_id": 0}
    cached = model.generate(prompt, do_sample=False, **settings)
    assert torch.equal(cached, model.generate(prompt, do_sample=False, use_cache=False, **settings))


def test_saving_gives_back_the_original_tensors_bit_by_bit_and_the_original_config(family, originals, host, tmp_path):
    opened(originals[family], host).save_pretrained(tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (originals[family], tmp_path))
    assert set(before) - set(after) == {name for name in before if name.endswith("inv_freq")}
    assert all(torch.equal(after[name], before[name]) for name in after)
    old, new = (json.loads((f / "config.json").read_text()) for f in (originals[family], tmp_path))
    left_out = {"auto_map", "transformers_version", "torch_dtype", "dtype"}
    assert {k: v for k, v in old.items() if k not in left_out} == {k: v for k, v in new.items() if k not in left_out}


def test_pickled_shards_load_as_tensors_only(family, originals, host, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(originals[family], folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, held in parts.items():
        torch.save({name: tensors[name] for name in held}, folder / file)
    weight_map = {name: file for file, held in parts.items() for name in held}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    ids = some_ids(1, 10)
    with torch.no_grad():
        assert torch.equal(opened(folder, host)(ids).logits, opened(originals[family], host)(ids).logits)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(RequestError, match=r"weights are missing: pytorch_model-00002"):
        opened(folder, host)


class Danger:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


def test_a_pickle_with_code_in_it_is_refused(originals, host, tmp_path, capsys):
    folder = tmp_path / "evil"
    shutil.copytree(originals["xverse"], folder)
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Danger()}, folder / "pytorch_model.bin")
    with pytest.raises(RequestError, match="hold more than tensors"):
        opened(folder, host)
    assert "ran" not in capsys.readouterr().out


def packed_loss(model, rows):
    from plugtune.training.attention import segments

    ids = torch.cat(rows, 1)
    positions = torch.cat([torch.arange(row.shape[1]) for row in rows])[None]
    bounds = torch.tensor([0, *torch.tensor([row.shape[1] for row in rows]).cumsum(0).tolist()], dtype=torch.int32)
    longest = max(row.shape[1] for row in rows)
    with segments():
        return model(
            input_ids=ids, position_ids=positions, cu_seq_lens_q=bounds, cu_seq_lens_k=bounds, max_length_q=longest,
            max_length_k=longest, use_cache=False,
        ).logits  # fmt: skip


def test_rows_laid_end_to_end_do_not_see_each_other(family, originals, host):
    from plugtune.training import attention

    model = opened(originals[family], host)
    assert attention.enable(model) is True
    rows = [some_ids(1, n, n) for n in (7, 12, 3)]
    rows[1][0, 5] = 4  # Yuan's end of document in the middle of a row
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            apart = torch.cat([reference(originals[family], row, training=training)[0] for row in rows], 1)
            assert (packed_loss(model, rows) - apart).abs().max() < 2e-4


def test_a_filter_that_leaks_between_rows_is_found_out(originals, host, monkeypatch):
    from plugtune.training import attention
    from plugtune_family_yuan2 import model as yuan

    right = yuan._starts
    monkeypatch.setattr(yuan, "_starts", lambda tokens, mask, bounds, seen: right(tokens, mask, None, seen))
    assert attention.enable(opened(originals["yuan2"], host)) is False


def test_missing_biases_between_rows_are_found_out(originals, host, monkeypatch):
    from plugtune.training import attention
    from plugtune_family_baichuan2.model import AlibiAttention

    right = AlibiAttention.position_bias

    def flat(self, queries, keys, device, dtype):
        return right(self, queries, keys, device, dtype).clamp(max=0).sign() * 0  # neither bias nor causal mask

    model = opened(originals["baichuan2-13b"], host)
    with monkeypatch.context() as patch:
        patch.setattr(
            AlibiAttention, "_biased", lambda s, mask, q, kw: right(s, q.shape[2], q.shape[2], q.device, q.dtype)
        )
        patch.setattr(AlibiAttention, "position_bias", flat)
        assert attention.enable(model) is False


def test_nothing_is_registered_before_such_a_model_is_loaded():
    code = (
        "import sys\n"
        "from plugtune.plugins.host import PluginHost\n"
        "host = PluginHost().load()\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "from transformers.models.auto.configuration_auto import CONFIG_MAPPING\n"
        "assert 'qwen' not in CONFIG_MAPPING and 'chatglm' not in CONFIG_MAPPING\n"
        "from plugtune.modeling.layout import open_layout\n"
        "family = host.catalog.get('family', 'qwen1')\n"
        "assert open_layout(family) is open_layout(family)\n"
        "assert 'qwen' in CONFIG_MAPPING and 'chatglm' not in CONFIG_MAPPING\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_transformers_outside_of_the_family_s_range_is_told_before_anything_loads(host):
    import dataclasses

    family = dataclasses.replace(host.catalog.get("family", "chatglm3"), requires=("transformers<5",))
    with pytest.raises(RequestError, match=r"needs transformers<5 and \S+ is installed"):
        open_layout(family)


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("chatglm3", {"num_layers": None}, "first generation"),
        ("chatglm3", {"pre_seq_len": 128}, "pre_seq_len"),
        ("qwen1", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "without -Int4"),
        ("deepseek-moe", {"norm_topk_prob": True}, "norm_topk_prob"),
        ("yuan2", {"use_shareqk": True}, "use_shareqk"),
    ],
)
def test_variants_that_are_not_computed_are_refused_by_name(family, change, message, originals, host, tmp_path):
    shutil.copytree(originals[family], tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text()) | change
    config = {key: value for key, value in config.items() if value is not None}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match=message):
        opened(tmp_path / "model", host)
