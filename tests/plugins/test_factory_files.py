"""Files in the shape of LLaMA-Factory's examples for each stage and method are taken as they are."""

from __future__ import annotations

import pytest
from plugtune.options.reader import read_request
from plugtune.training.planner import make_plan

COMMON = """
### dataset
dataset: {data}
template: llama3
cutoff_len: 2048
max_samples: 1000
preprocessing_num_workers: 16
dataloader_num_workers: 4

### output
output_dir: saves/{name}
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
"""
MODEL = "model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct\ntrust_remote_code: true\n"
LORA = "do_train: true\nfinetuning_type: lora\nlora_rank: 8\nlora_target: all\n"
EVAL = "val_size: 0.1\nper_device_eval_batch_size: 1\neval_strategy: steps\neval_steps: 500\n"
FILES = {
    "train_lora pretrain": (LORA + "stage: pt\n", "c4_demo"),
    "train_lora sft": (LORA + "stage: sft\n" + EVAL, "identity,alpaca_en_demo"),
    "train_lora reward": (LORA + "stage: rm\n" + EVAL, "dpo_en_demo"),
    "train_lora dpo": (LORA + "stage: dpo\npref_beta: 0.1\npref_loss: sigmoid\n", "dpo_en_demo"),
    "train_lora kto": (LORA + "stage: kto\npref_beta: 0.1\n", "kto_en_demo"),
    "train_lora ppo": (
        LORA + "stage: ppo\nreward_model: saves/reward\nmax_new_tokens: 512\ntop_k: 0\ntop_p: 0.9\n",
        "identity,alpaca_en_demo",
    ),
    "train_full sft": ("stage: sft\ndo_train: true\nfinetuning_type: full\n", "identity,alpaca_en_demo"),
    "train_qlora sft bnb": (
        LORA + "stage: sft\nquantization_bit: 4\nquantization_method: bnb\ndouble_quantization: false\n",
        "identity,alpaca_en_demo",
    ),
    "extras llama_pro": (
        "stage: sft\ndo_train: true\nfinetuning_type: freeze\nfreeze_trainable_layers: 8\n"
        "freeze_trainable_modules: all\nuse_llama_pro: true\n",
        "identity",
    ),
    "extras badam": (
        "stage: sft\ndo_train: true\nfinetuning_type: full\nuse_badam: true\nbadam_mode: layer\n"
        "badam_switch_mode: ascending\nbadam_switch_interval: 50\nbadam_verbose: 2\n",
        "identity",
    ),
    "extras adam_mini": ("stage: sft\ndo_train: true\nfinetuning_type: full\nuse_adam_mini: true\n", "identity"),
    "extras oft": (
        "stage: sft\ndo_train: true\nfinetuning_type: oft\noft_block_size: 32\noft_target: all\n", "identity",
    ),
    "extras dft": ("stage: sft\ndo_train: true\nfinetuning_type: full\nuse_dft_loss: true\n", "identity"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_taken_and_used(host, tmp_path, name):
    head, data = FILES[name]
    (tmp_path / "run.yaml").write_text(MODEL + head + COMMON.format(data=data, name=name.replace(" ", "_")))
    plan = make_plan(read_request([str(tmp_path / "run.yaml")]), host)
    assert f"stage: {plan.stage.name}\n" in head
    assert f"finetuning_type: {plan.method.name}\n" in head
    assert not [note for note in plan.notes if "no effect" in note]
