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
        assert made.activations == one.activations


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
