"""Estimates: sizes against the real classes, parts that add up, advice that is true, and nothing heavy imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from plugtune.cli.estimate import estimate_request
from plugtune.errors import RequestError
from plugtune.modeling.memory import Setting, Trained, estimate, optimizer_bytes
from plugtune.modeling.shape import shape_of_config, shape_of_size
from plugtune.options.reader import read_request


def meta_model(config):
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def configs():
    import transformers as t

    return {
        "llama": t.LlamaConfig(num_hidden_layers=3, hidden_size=256, intermediate_size=700, num_attention_heads=8, num_key_value_heads=2),
        "tied qwen3": t.Qwen3Config(num_hidden_layers=3, hidden_size=256, intermediate_size=700, num_attention_heads=8, num_key_value_heads=2, head_dim=64, tie_word_embeddings=True),
        "gpt2": t.GPT2Config(n_layer=3, n_embd=256, n_head=8),
        "mixtral": t.MixtralConfig(num_hidden_layers=2, hidden_size=128, intermediate_size=256, num_attention_heads=8, num_key_value_heads=2, num_local_experts=4),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["llama", "tied qwen3", "gpt2", "mixtral"])
def test_parameters_are_those_of_the_real_class_within_one_per_cent(name):
    config = configs()[name]
    wanted = sum(p.numel() for p in meta_model(config).parameters())
    assert shape_of_config(config.to_dict()).parameters == pytest.approx(wanted, rel=0.01)


def test_a_local_checkpoint_is_counted_exactly_from_its_headers(model_dir, host):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir)
    sized = estimate_request(read_request(["--model_name_or_path", str(model_dir), "--lora_rank", "4"]), host)
    assert sized.shape.parameters == sum(p.numel() for p in model.parameters())
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    assert sized.trained.parameters == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_frozen_blocks_are_counted_as_the_method_trains_them(model_dir, host):
    from plugtune.capabilities import load_ref
    from plugtune.modeling.methods import MethodContext
    from plugtune.options.groups import ModelOptions
    from transformers import AutoModelForCausalLM

    method = host.catalog.get("method", "freeze")
    model = AutoModelForCausalLM.from_pretrained(model_dir)
    options = method.options(freeze_trainable_layers=1, freeze_extra_modules=["embed_tokens"])
    load_ref(method.prepare)(model, MethodContext(options, ModelOptions(), host.catalog.get("family", "llama")))
    wanted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    flags = ["--freeze_trainable_layers", "1", "--freeze_extra_modules", "embed_tokens"]
    request = read_request(["--model_name_or_path", str(model_dir), "--finetuning_type", "freeze", *flags])
    assert estimate_request(request, host).trained.parameters == wanted


def test_zero_stages_divide_what_they_say_and_nothing_else():
    shape = shape_of_size("7B", "7B")
    trained = Trained(shape.parameters, blocks=shape.layers, embeddings=True, head=True)
    one, *split = (estimate(shape, trained, Setting(512, 512, world=4, shard=stage)) for stage in range(4))
    for stage, made in enumerate(split, 1):
        assert made.optimizer == pytest.approx(one.optimizer / 4, rel=1e-6)
        assert made.gradients == pytest.approx(one.gradients / (4 if stage >= 2 else 1), rel=1e-6)
        assert made.weights == pytest.approx(one.weights / (4 if stage >= 3 else 1), rel=1e-6)
        # Layers whose weights are cut up keep their stock form, which keeps more for the backward pass.
        assert made.activations == split[0].activations > one.activations


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("adamw_torch_fused", 8),
        ("adamw_8bit", 2),
        ("paged_adamw_8bit", 2),
        ("sgd", 0),
        ("adafactor", 0.02),
        ("lion_32bit", 4),
    ],
)
def test_optimizers_keep_what_they_keep(name, size):
    assert optimizer_bytes(name) == size


def test_names_hub_ids_and_sizes_need_no_download(host):
    for name in ("Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct", "7B", "someone/unknown-7b-chat"):
        sized = estimate_request(read_request(["--model_name_or_path", name]), host)
        assert sized.shape.parameters == pytest.approx(7e9, rel=0.02)
    with pytest.raises(RequestError, match="is not known"):
        estimate_request(read_request(["--model_name_or_path", "Qwn2.5"]), host)


def test_advice_is_followed_by_what_it_promises(host):
    base = [
        "--model_name_or_path",
        "7B",
        "--finetuning_type",
        "full",
        "--cutoff_len",
        "512",
        "--memory_gb",
        "16",
        "--device",
        "gpu",
    ]
    sized = estimate_request(read_request(base), host)
    assert not sized.fits
    changes = [change for change, _ in sized.advice]
    peaks = [peak for _, peak in sized.advice]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] <= 16 << 30
    assert changes.index("--finetuning_type lora") < changes.index("--quantization_bit 8")
    taken = (
        base[:2]
        + base[4:]
        + [
            "--quantization_bit",
            "8",
            "--per_device_train_batch_size",
            "1",
            "--gradient_accumulation_steps",
            "2",
            "--gradient_checkpointing",
            "true",
        ]
    )
    assert estimate_request(read_request(taken), host).fits


def test_the_command_imports_nothing_heavy_and_tells_wrong_options(model_dir):
    code = (
        "import sys\nfrom plugtune.cli.main import run\n"
        f"status = run(['estimate', '--model_name_or_path', {str(model_dir)!r}, '--json'])\n"
        "assert not {'torch', 'transformers', 'datasets', 'peft', 'numpy'} & set(sys.modules), 'heavy'\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["peak_bytes"] > answer["parts_bytes"]["process"]
    wrong = subprocess.run(
        [sys.executable, "-m", "plugtune", "estimate", "--model_name_or_path", "7B", "--lora_rnk", "8"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 2
    assert "did you mean 'lora_rank'" in wrong.stderr


def sized(host, *flags, stage="sft", method="full"):
    """An estimate for a 7B model on a GPU."""
    base = ["--model_name_or_path", "7B", "--stage", stage, "--finetuning_type", method, "--device", "gpu"]
    return estimate_request(
        read_request([*base, "--cutoff_len", "512", "--gradient_checkpointing", "true", *flags]), host
    )


@pytest.mark.parametrize(
    ("flags", "method", "models"),
    [
        (["--reward_model", "r", "--reward_model_type", "full"], "full", 2),  # the reward model, a copy as reference
        (["--reward_model", "r", "--reward_model_type", "full"], "lora", 1),  # the base is the reference
        (["--reward_model", "r"], "lora", 0),  # the reward adapter shares the base too
        (["--reward_model", "r", "--reward_model_type", "full", "--ref_model", "x"], "lora", 2),
        (["--reward_model", "m:f", "--reward_model_type", "function"], "full", 1),
    ],
)
def test_ppo_counts_the_models_that_stand_beside_the_policy(host, flags, method, models):
    made = sized(host, *flags, stage="ppo", method=method)
    plain = sized(host, method=method)
    assert made.estimate.others == pytest.approx(models * 4 * 7e9, rel=0.02)
    assert made.estimate.cache == 2 * made.shape.layers * made.shape.keys * 4 * made.setting.tokens
    without = {name: size - made.estimate.others for name, size in made.estimate.moments.items() if name != "loading"}
    assert without["the loss"] == plain.estimate.moments["the loss"]
    assert without["sampling answers"] > plain.estimate.weights + made.estimate.cache


def test_pairs_take_twice_the_tokens_and_a_reference_is_gone_before_training(host):
    plain, pairs, scored = sized(host), sized(host, stage="dpo"), sized(host, stage="rm")
    assert pairs.setting.tokens == scored.setting.tokens == 2 * plain.setting.tokens
    assert pairs.estimate.activations == pytest.approx(2 * plain.estimate.activations, rel=0.01)
    assert scored.estimate.logits == 0
    named = sized(host, "--ref_model", "x", stage="dpo")
    assert named.estimate.peak == pairs.estimate.peak
    assert named.estimate.moments["reading the reference"] > 2 * 4 * 7e9
    assert sized(host, "--beta", "0.1", "--reward_funcs", "m:f", stage="grpo").estimate.others > 0
    assert sized(host, "--reward_funcs", "m:f", stage="grpo").estimate.others == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_key_value_cache_is_as_large_as_a_generation_fills_it(model_dir, dtype):
    import torch
    from plugtune.modeling.memory import cache_bytes
    from plugtune.modeling.shape import shape_of_folder
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype)).eval()
    ids = torch.randint(0, 200, (3, 17))
    made = model.generate(
        input_ids=ids, max_new_tokens=24, min_new_tokens=24, do_sample=False, return_dict_in_generate=True
    )
    layers = made.past_key_values.layers
    measured = sum(part.numel() * part.element_size() for layer in layers for part in (layer.keys, layer.values))
    shape = shape_of_folder(model_dir, json.loads((model_dir / "config.json").read_text()))
    width = torch.finfo(getattr(torch, dtype)).bits // 8
    # The last token is drawn and not computed any more.
    assert measured == cache_bytes(shape, Setting(0, 0, weight_bytes=width, cached_tokens=3 * (17 + 24 - 1)))


def test_a_checkpoint_in_another_dtype_stands_beside_its_converted_weights_while_it_is_read(model_dir, tmp_path, host):
    import torch
    from transformers import AutoModelForCausalLM

    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16).save_pretrained(half)
    found = {}
    for name, folder in (("same", model_dir), ("half", half)):
        flags = ["--model_name_or_path", str(folder), "--finetuning_type", "full", "--device", "cpu", "--bf16", "false"]
        found[name] = estimate_request(read_request(flags), host)
    assert (found["same"].shape.stored, found["half"].shape.stored) == (4, 2)
    more = found["half"].estimate.moments["loading"] - found["same"].estimate.moments["loading"]
    assert more == 2 * found["half"].shape.parameters
    assert found["half"].estimate.weights == found["same"].estimate.weights
