"""Estimates against the largest resident set of real runs, as the kernel counts it. docs/estimate.md has many more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURE = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)\n"
    "sys.stderr.write(done.stderr)\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\n"
    "sys.exit(done.returncode)"
)


@pytest.fixture(scope="module")
def middling(model_dir, tmp_path_factory):
    """A random LLaMA of 86 million parameters: large beside what a process takes without one."""
    import shutil

    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("middling") / "model"
    shutil.copytree(model_dir, folder)
    config = LlamaConfig.from_pretrained(model_dir)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 768, 2048, 12
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 12, 4, 64
    config.max_position_embeddings = 1024
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.parametrize(
    "flags",
    [
        ("--finetuning_type", "full", "--cutoff_len", "256", "--per_device_train_batch_size", "2"),
        ("--finetuning_type", "lora", "--cutoff_len", "512", "--per_device_train_batch_size", "2", "--bf16", "false"),
    ],
    ids=["full", "lora"],
)
def test_the_estimate_is_within_fifteen_per_cent_of_the_measured_peak(middling, tmp_path, flags):
    (tmp_path / "text.txt").write_text("\n".join(["The quick brown fox jumps over the lazy dog. " * 60] * 8))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"text": {"file_name": "text.txt", "formatting": "text"}}))
    run = [
        "--stage", "pt", "--do_train", "--dataset", "text", "--dataset_dir", str(tmp_path), "--max_steps", "2",
        "--model_name_or_path", str(middling), "--gradient_accumulation_steps", "1", "--save_strategy", "no",
        "--output_dir", str(tmp_path / "out"), *flags,
    ]  # fmt: skip
    program = [sys.executable, "-m", "plugtune"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *program, "train", *run], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = subprocess.run(
        [*program, "estimate", *run, "--device", "cpu", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout)["peak_bytes"] == pytest.approx(float(done.stdout), rel=0.15)
