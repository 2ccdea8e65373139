"""GRPO learns a toy reward; its parts equal the paper's formulas; a resumed run repeats an uninterrupted one."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from plugtune.errors import RequestError
from plugtune_stage_grpo.groups import group_advantages
from plugtune_stage_grpo.losses import answer_weights, reference_kl, token_losses
from safetensors.torch import load_file


def test_advantages_compare_the_answers_to_one_prompt():
    advantages, deviations = group_advantages(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2, scale=True)
    root = math.sqrt(2)
    assert deviations.tolist() == pytest.approx([root, 0])
    assert advantages.tolist() == pytest.approx([-1 / root, 1 / root, 0, 0], abs=1e-3)
    assert group_advantages(torch.tensor([1.0, 3.0]), 2, scale=False)[0].tolist() == [-1, 1]


def test_the_loss_of_a_token_by_hand():
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5])
    losses, cut = token_losses(ratio.log(), torch.zeros(4), torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.2, 0.3)
    assert losses.tolist() == pytest.approx([-1.3, 1.5, -0.5, 0.8])
    assert cut.tolist() == [1, 0, 0, 1]
    torch.manual_seed(0)
    policy, reference = torch.randn(6).log_softmax(0), torch.randn(6).log_softmax(0)
    exact = (policy.exp() * (policy - reference)).sum()
    assert (policy.exp() * reference_kl(policy, reference)).sum().item() == pytest.approx(exact.item(), abs=1e-6)


def test_answers_count_alike_whatever_their_length():
    assert answer_weights(torch.tensor([1, 4]), 2).tolist() == pytest.approx([0.5, *[0.125] * 4])


@pytest.fixture(scope="module")
def prompts_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    rows = [{"instruction": f"Question {n}?" + " really" * (n % 4), "input": "", "output": "-"} for n in range(12)]
    (folder / "prompts.json").write_text(json.dumps(rows))
    (folder / "dataset_info.json").write_text(json.dumps({"prompts": {"file_name": "prompts.json"}}))
    return folder


@pytest.fixture
def common(prompts_dir: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return {
        "stage": "grpo", "dataset": "prompts", "dataset_dir": prompts_dir, "model_name_or_path": model_dir,
        "per_device_train_batch_size": 16, "per_device_eval_batch_size": 32, "learning_rate": 1e-2, "max_new_tokens": 8,
        "top_p": 1.0, "top_k": 0, "temperature": 1.0, "reward_funcs": "toy_rewards:share", "num_generations": 4,
        "lr_scheduler_type": "constant",
    }  # fmt: skip


@pytest.mark.e2e
@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_the_mean_reward_rises(train_here, log_of, common, tmp_path, loss_type):
    output = train_here(
        tmp_path / "run",
        **common,
        finetuning_type="full",
        loss_type=loss_type,
        max_steps=40,
        num_iterations=2,
        beta=0.01,
    )
    rewards = log_of(output, "reward")
    assert sum(rewards[-3:]) / 3 > rewards[0] + 0.2, rewards
    assert log_of(output, "rewards/share") == rewards
    assert log_of(output, "kl")[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.e2e
def test_a_run_resumed_in_the_middle_of_a_buffer_repeats_the_uninterrupted_one(train_here, log_of, common, tmp_path):
    options = {
        **common, "max_steps": 10, "save_steps": 5, "num_iterations": 2, "grpo_buffer_size": 2, "beta": 0.1,
        "per_device_train_batch_size": 4, "reward_funcs": "toy_rewards:share,toy_rewards:short",
        "reward_weights": "1.0,0.5",
    }  # fmt: skip
    whole = train_here(tmp_path / "whole", **options)
    cut = shutil.copytree(whole, tmp_path / "cut")
    shutil.rmtree(cut / "checkpoint-10")
    train_here(cut, **options, resume_from_checkpoint="true")
    assert log_of(cut, "loss")[-5:] == log_of(whole, "loss")[-5:]
    assert (cut / "adapter_model.safetensors").read_bytes() == (whole / "adapter_model.safetensors").read_bytes()
    assert all("lora_" in name for name in load_file(whole / "adapter_model.safetensors"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"reward_funcs": ""}, "nothing scores"),
        ({"reward_funcs": "share"}, "names no function"),
        ({"reward_weights": "1,2"}, "2 weights for 1"),
        ({"per_device_train_batch_size": 6}, "no whole groups"),
        ({"reward_funcs": "toy_rewards:missing"}, "cannot be imported"),
    ],
)
def test_wrong_requests_are_told(train_here, common, tmp_path, change, told):
    with pytest.raises(RequestError, match=told):
        train_here(tmp_path / "run", **{**common, **change})
