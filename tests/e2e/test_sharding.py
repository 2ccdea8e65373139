"""Weights, gradients and optimizer states cut up among two processes: the same numbers, whole files, resumable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mini_data import write_mini
from two_processes import as_two, losses, start_two

pytestmark = [pytest.mark.e2e, pytest.mark.long]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini(tmp_path_factory.mktemp("data"))


@pytest.fixture
def command(model_dir, lively_dir, data_dir):
    def make(output: Path, *extra: object, tied: bool = True) -> list[str]:
        args = [
            "train", "--do_train", "--model_name_or_path", model_dir if tied else lively_dir, "--dataset", "mini",
            "--dataset_dir", data_dir, "--output_dir", output, "--learning_rate", "1e-3", "--logging_steps", 1,
            "--bf16", "false", "--num_train_epochs", 2, *extra,
        ]  # fmt: skip
        return [str(arg) for arg in args]

    return make


FSDP = ("--fsdp", "full_shard auto_wrap", "--fsdp_config", '{"fsdp_version": 2}')
CELLS = {
    "full, tied embeddings": ("--finetuning_type", "full"),
    "full, accumulated": ("--finetuning_type", "full", "--gradient_accumulation_steps", 2),
    "freeze": ("--finetuning_type", "freeze", "--freeze_trainable_layers", 1),
    "lora": ("--learning_rate", "1e-2"),
}


@pytest.mark.parametrize("cell", CELLS)
def test_shards_do_what_one_process_does_and_leave_plain_files(forked, command, model_dir, tmp_path, cell):
    tied = cell != "full, accumulated"
    one = command(tmp_path / "one", *CELLS[cell], "--per_device_train_batch_size", 4, tied=tied)
    forked.run(one, tmp_path / "log")
    two = command(
        tmp_path / "two", *CELLS[cell], *FSDP, "--per_device_train_batch_size", 2, "--save_steps", 4, tied=tied
    )
    as_two(forked, two, tmp_path)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    report = json.loads((tmp_path / "two" / "run.json").read_text())
    assert report["devices"]["strategy"] == "fully sharded (FSDP)"
    for folder in (tmp_path / "two", tmp_path / "two" / "checkpoint-4"):
        trained, single = answers(folder, model_dir), answers(tmp_path / "one", model_dir)
        assert trained.shape == single.shape
        if folder == tmp_path / "two":
            assert torch.allclose(trained, single, atol=2e-3)
    before = losses(tmp_path / "two")
    as_two(forked, [*two, "--resume_from_checkpoint", str(tmp_path / "two" / "checkpoint-4")], tmp_path)
    assert losses(tmp_path / "two") == pytest.approx(before, abs=1e-6)


def answers(folder: Path, base: Path) -> torch.Tensor:
    """Logits of a saved model or adapter, loaded the stock way."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if (folder / "adapter_config.json").is_file():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        return model.eval()(torch.tensor([[3, 5, 7, 11, 13]])).logits


def test_fsdp1_on_a_cpu_is_refused(forked, command, tmp_path):
    args = command(tmp_path / "run", "--fsdp", "full_shard", "--fsdp_config", '{"fsdp_version": 1}')
    statuses, texts = start_two(forked, args, tmp_path)
    assert 2 in statuses  # the other may first notice that its partner has left
    assert sum(text.count("FSDP1 was asked for and this run computes on the CPU") for text in texts) == 1
