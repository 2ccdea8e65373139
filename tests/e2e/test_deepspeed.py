"""ZeRO 2 and 3 among two processes: the numbers of one process with twice the batch, whole files, resumable.

They run where DeepSpeed is installed, which `make test-long` sees to; without it the refusal is tested elsewhere.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from mini_data import write_mini
from test_sharding import answers
from two_processes import as_two, losses

pytestmark = [
    pytest.mark.e2e, pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="pip install deepspeed"),
]  # fmt: skip
CONFIGS = Path(__file__).resolve().parents[2] / "examples" / "deepspeed"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini(tmp_path_factory.mktemp("data"))


@pytest.fixture
def command(model_dir, data_dir):
    def make(output: Path, *extra: object) -> list[str]:
        args = [
            "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "mini", "--dataset_dir", data_dir,
            "--output_dir", output, "--learning_rate", "1e-3", "--logging_steps", 1, "--bf16", "false",
            "--num_train_epochs", 2, *extra,
        ]  # fmt: skip
        return [str(arg) for arg in args]

    return make


METHODS = {
    "full": ("--finetuning_type", "full"),
    "full, accumulated": ("--finetuning_type", "full", "--gradient_accumulation_steps", 2),
    "freeze": ("--finetuning_type", "freeze", "--freeze_trainable_layers", 1),
    "lora": ("--learning_rate", "1e-2"),
}


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_zero_does_what_one_process_does_and_leaves_plain_files(forked, command, model_dir, tmp_path, method, stage):
    forked.run(command(tmp_path / "one", *METHODS[method], "--per_device_train_batch_size", 4), tmp_path / "log")
    two = command(tmp_path / "two", *METHODS[method], "--deepspeed", CONFIGS / f"ds_z{stage}_config.json",
                  "--per_device_train_batch_size", 2, "--save_steps", 4)  # fmt: skip
    as_two(forked, two, tmp_path)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    report = json.loads((tmp_path / "two" / "run.json").read_text())
    assert report["devices"]["strategy"] == "DeepSpeed"
    states = [*(tmp_path / "two" / "checkpoint-4").glob("global_step4/*optim_states.pt")]
    assert len(states) == 2, "each process keeps the optimizer states of its own part"
    single = answers(tmp_path / "one", model_dir)
    assert torch.allclose(answers(tmp_path / "two", model_dir), single, atol=2e-3)
    assert answers(tmp_path / "two" / "checkpoint-4", model_dir).shape == single.shape
    before = losses(tmp_path / "two")
    as_two(forked, [*two, "--resume_from_checkpoint", str(tmp_path / "two" / "checkpoint-4")], tmp_path)
    assert losses(tmp_path / "two") == pytest.approx(before, abs=1e-6)


def test_optimizer_states_are_cut_in_two(forked, command, tmp_path):
    """ZeRO is asked for to save memory: a process's states hold half of the trained weights, not all of them."""
    two = command(tmp_path / "two", *METHODS["full"], "--deepspeed", CONFIGS / "ds_z3_config.json", "--max_steps", 1,
                  "--save_steps", 1)  # fmt: skip
    as_two(forked, two, tmp_path)
    folder = tmp_path / "two" / "checkpoint-1" / "global_step1"
    parts = [torch.load(path, weights_only=False)["optimizer_state_dict"] for path in folder.glob("*optim_states.pt")]
    held = [sum(group.numel() for group in part["fp32_flat_groups"]) for part in parts]
    from transformers import AutoModelForCausalLM

    every = AutoModelForCausalLM.from_pretrained(tmp_path / "two").num_parameters()
    assert every / 2 <= held[0] == held[1] <= every / 2 + 100


def test_rows_are_laid_end_to_end_under_zero(forked, command, tmp_path):
    for stage in (2, 3):
        args = command(tmp_path / f"z{stage}", "--deepspeed", CONFIGS / f"ds_z{stage}_config.json", "--max_steps", 1)
        texts = as_two(forked, args, tmp_path)
        assert "rows laid end to end" in texts[0]
    report = json.loads((tmp_path / "z3" / "run.json").read_text())
    assert "trained: 0" not in report["choices"]


def test_a_new_token_gets_a_whole_row_under_zero_3(forked, command, tmp_path):
    args = ("--finetuning_type", "full", "--add_tokens", "<new>", "--resize_vocab", "true", "--max_steps", 2)
    forked.run(command(tmp_path / "one", *args, "--per_device_train_batch_size", 4), tmp_path / "log")
    two = command(tmp_path / "two", *args, "--deepspeed", CONFIGS / "ds_z3_config.json",
                  "--per_device_train_batch_size", 2)  # fmt: skip
    as_two(forked, two, tmp_path)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)


@pytest.mark.parametrize("stage", [2, 3])
def test_offloaded_states_give_the_same_numbers(forked, command, tmp_path, stage):
    forked.run(command(tmp_path / "one", "--per_device_train_batch_size", 4), tmp_path / "log")
    two = command(tmp_path / "two", "--deepspeed", CONFIGS / f"ds_z{stage}_offload_config.json",
                  "--per_device_train_batch_size", 2)  # fmt: skip
    as_two(forked, two, tmp_path)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)


def test_the_answer_is_alone_on_standard_output(command, plugtune, tmp_path):
    args = command(tmp_path / "two", "--deepspeed", CONFIGS / "ds_z2_config.json", "--max_steps", 1, "--json")
    done = plugtune(*args, env={"NPROC_PER_NODE": "2"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["devices"]["processes"] == 2
    assert len(done.stderr.splitlines()) < 40, done.stderr
