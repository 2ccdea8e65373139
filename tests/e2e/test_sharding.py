"""Weights, gradients and optimizer states cut up among two processes: the same numbers, whole files, resumable."""

from __future__ import annotations

import hashlib
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


@pytest.mark.parametrize("cell", ["full, tied embeddings", "lora"])
def test_checkpoints_in_parts_resume_and_the_end_is_whole(forked, command, model_dir, tmp_path, cell):
    parts = ("--fsdp", "full_shard auto_wrap", "--fsdp_config",
             '{"fsdp_version": 2, "state_dict_type": "SHARDED_STATE_DICT"}')  # fmt: skip
    steps = (*CELLS[cell], "--per_device_train_batch_size", 2, "--save_steps", 4)
    as_two(forked, command(tmp_path / "whole", *steps, *FSDP), tmp_path)
    run = command(tmp_path / "parts", *steps, *parts)
    as_two(forked, run, tmp_path)
    assert torch.equal(answers(tmp_path / "parts", model_dir), answers(tmp_path / "whole", model_dir))
    before, saved = losses(tmp_path / "parts"), tmp_path / "parts" / "checkpoint-4"
    assert before == losses(tmp_path / "whole")
    assert {path.name for path in saved.glob("pytorch_model_fsdp_0/*.distcp")} == {"__0_0.distcp", "__1_0.distcp"}
    listed = json.loads((saved / "manifest.json").read_text())["files"]
    for name, expected in listed.items():
        assert hashlib.sha256((saved / name).read_bytes()).hexdigest() == expected["sha256"], name
    assert set(listed) == {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()} - {
        "manifest.json"
    }
    as_two(forked, [*run, "--resume_from_checkpoint", "true"], tmp_path)
    assert losses(tmp_path / "parts") == pytest.approx(before, abs=1e-6)


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
