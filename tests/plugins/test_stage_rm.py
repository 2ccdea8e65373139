"""A reward model learns the losses of trl's trainer, moves only what it should, and survives a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from plugtune.errors import RequestError
from plugtune.modeling.value_head import ValueHead, forward_flat, load_head, save_head
from plugtune.training.sequences import lay_out
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

PAIRS = 16


@pytest.fixture(scope="module")
def pairs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs that can be told apart: good answers say yes, bad ones say no, at several lengths."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [
        {"instruction": f"Question {n}?" + " really" * (n % 4), "input": "", "chosen": " ".join(["yes"] * (1 + n % 5)),
         "rejected": " ".join(["no"] * (1 + n * 7 % 6))}
        for n in range(PAIRS)
    ]  # fmt: skip
    (folder / "pairs.json").write_text(json.dumps(rows))
    (folder / "dataset_info.json").write_text(json.dumps({"pairs": {"file_name": "pairs.json", "ranking": True}}))
    return folder


@pytest.fixture
def headed_dir(model_dir: Path, tmp_path: Path) -> Path:
    """The tiny model with a known head beside its weights."""
    folder = shutil.copytree(model_dir, tmp_path / "headed")
    torch.manual_seed(7)
    head = ValueHead(32)
    head.summary.weight.data.neg_()  # it prefers the rejected answers at first
    save_head(head, folder)
    return folder


@pytest.fixture
def common(pairs_dir: Path) -> dict[str, object]:
    return {"stage": "rm", "dataset": "pairs", "dataset_dir": pairs_dir, "per_device_train_batch_size": 4,
            "learning_rate": 1e-2, "max_steps": 6, "lr_scheduler_type": "constant"}  # fmt: skip


def rows_of(folder: Path, data_dir: Path) -> list[tuple[list[int], list[int]]]:
    """Chosen and rejected ids as the tokenizer's own chat template writes them."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = json.loads((data_dir / "pairs.json").read_text())

    def ids(question: str, answer: str) -> list[int]:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return tokenizer.apply_chat_template(messages, return_dict=False)

    return [(ids(r["instruction"], r["chosen"]), ids(r["instruction"], r["rejected"])) for r in rows]


@pytest.mark.e2e
def test_losses_are_those_of_trl(train_here, log_of, headed_dir, pairs_dir, common, tmp_path):
    from datasets import Dataset
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    options = {**common, "gradient_accumulation_steps": 2, "disable_shuffling": True}
    ours = train_here(
        tmp_path / "ours", model_name_or_path=headed_dir, finetuning_type="full", weight_decay=0.0, **options
    )

    model = LlamaForSequenceClassification.from_pretrained(headed_dir, num_labels=1, dtype=torch.float32)
    head = load_file(headed_dir / "value_head.safetensors")
    model.score.weight.data.copy_(head["v_head.summary.weight"])
    model.config.pad_token_id = 1
    rows = rows_of(headed_dir, pairs_dir)
    data = Dataset.from_list([{"chosen_ids": a, "rejected_ids": b} for a, b in rows])

    class InOrder(RewardTrainer):
        def _get_train_sampler(self, *args):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    arguments = RewardConfig(
        str(tmp_path / "theirs"), per_device_train_batch_size=4, gradient_accumulation_steps=2, learning_rate=1e-2,
        max_steps=6, lr_scheduler_type="constant", logging_steps=1, bf16=False, report_to="none", use_cpu=True,
        gradient_checkpointing=False, disable_tqdm=True, save_strategy="no", weight_decay=0.0, seed=42,
    )  # fmt: skip
    theirs = InOrder(
        model=model, args=arguments, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(headed_dir)
    )
    theirs.train()
    history = theirs.state.log_history
    assert log_of(ours, "loss") == pytest.approx([e["loss"] for e in history if "loss" in e], abs=2e-4)
    assert log_of(ours, "accuracy") == pytest.approx([e["accuracy"] for e in history if "accuracy" in e])
    assert load_file(ours / "model.safetensors").keys() == load_file(headed_dir / "model.safetensors").keys()


def test_losses_and_accuracy_are_those_of_a_plain_loop(train_here, log_of, headed_dir, pairs_dir, common, tmp_path):
    ours = train_here(
        tmp_path / "ours", model_name_or_path=headed_dir, finetuning_type="full", weight_decay=0.0,
        disable_shuffling=True, **common,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(headed_dir, dtype=torch.float32)
    head = torch.nn.Linear(32, 1)
    head.load_state_dict(
        {k.removeprefix("v_head.summary."): v for k, v in load_file(headed_dir / "value_head.safetensors").items()}
    )
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0)
    rows, losses, accuracies = rows_of(headed_dir, pairs_dir), [], []
    for step in range(6):
        batch = [rows[(step * 4 + i) % PAIRS] for i in range(4)]
        scores = torch.stack(
            [
                torch.stack([head(model.model(torch.tensor([ids])).last_hidden_state[0, -1])[0] for ids in p])
                for p in batch
            ]
        )
        loss = -torch.nn.functional.logsigmoid(scores[:, 0] - scores[:, 1]).mean()
        losses.append(loss.item())
        accuracies.append((scores[:, 0] > scores[:, 1]).float().mean().item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert log_of(ours, "loss") == pytest.approx(losses, abs=1e-4)
    assert log_of(ours, "accuracy") == pytest.approx(accuracies)


def test_rows_laid_end_to_end_give_the_scores_and_gradients_of_padded_ones(host, model_dir):
    from plugtune.training import attention

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    assert attention.enable(model)
    rows = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14, 15]]
    results = []
    for end_to_end in (True, False):
        model.zero_grad()
        layout = lay_out(rows, end_to_end=end_to_end)
        _, hidden = forward_flat(model, layout.inputs, None)
        last = torch.tensor([start + len(row) - 1 for start, row in zip(layout.starts, rows, strict=True)])
        hidden[last].square().sum().backward()
        results.append((hidden[last].detach(), model.model.layers[0].mlp.up_proj.weight.grad.clone()))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


MOVED = {
    "full": ({}, lambda name: True),
    "freeze": ({"freeze_trainable_layers": 1}, lambda name: "layers.1." in name),
    "lora": ({}, lambda name: "lora_" in name),
    "qlora8": ({"quantization_bit": 8}, lambda name: "lora_" in name),
    "qlora4": ({"quantization_bit": 4}, lambda name: "lora_" in name),
}


@pytest.mark.e2e
@pytest.mark.parametrize("cell", MOVED)
def test_each_method_moves_its_weights_and_the_head(train_here, log_of, headed_dir, common, tmp_path, cell):
    extra, should_move = MOVED[cell]
    method = "lora" if "lora" in cell else cell
    output = train_here(
        tmp_path / "run", model_name_or_path=headed_dir, finetuning_type=method, **{**common, "max_steps": 16}, **extra
    )
    before = load_file(headed_dir / "value_head.safetensors")
    after = load_file(output / "value_head.safetensors")
    assert set(after) == {"v_head.summary.weight", "v_head.summary.bias"}
    assert not torch.equal(before["v_head.summary.weight"], after["v_head.summary.weight"])
    if method == "lora":
        assert all(should_move(name) for name in load_file(output / "adapter_model.safetensors"))
    else:
        old, new = load_file(headed_dir / "model.safetensors"), load_file(output / "model.safetensors")
        assert {n for n in old if not torch.equal(old[n], new[n])} == {n for n in old if should_move(n)}
    accuracy = log_of(output, "accuracy")
    assert sum(accuracy[-4:]) / 4 > 0.9 > sum(accuracy[:2]) / 2, accuracy


@pytest.mark.e2e
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_by_bit(
    train_here, log_of, headed_dir, common, tmp_path, method
):
    options = {**common, "model_name_or_path": headed_dir, "finetuning_type": method, "save_steps": 3}
    whole = train_here(tmp_path / "whole", **options)
    cut = shutil.copytree(whole, tmp_path / "cut")
    shutil.rmtree(cut / "checkpoint-6")
    train_here(cut, **options, resume_from_checkpoint="true")
    assert log_of(cut, "loss")[-3:] == log_of(whole, "loss")[-3:]
    for name in ("value_head.safetensors", "adapter_model.safetensors" if method == "lora" else "model.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_an_output_head_of_its_own_rests(train_here, model_dir, common, tmp_path):
    """It is never computed; a trained parameter without a gradient would stop data-parallel training."""
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, tie_word_embeddings=False)
    model.save_pretrained(tmp_path / "untied")
    AutoTokenizer.from_pretrained(model_dir).save_pretrained(tmp_path / "untied")
    output = train_here(
        tmp_path / "run", model_name_or_path=tmp_path / "untied", finetuning_type="full", **{**common, "max_steps": 2}
    )
    old, new = (load_file(folder / "model.safetensors") for folder in (tmp_path / "untied", output))
    assert {name for name in old if torch.equal(old[name], new[name])} == {"lm_head.weight"}


def test_evaluation_measures_every_pair(train_here, headed_dir, pairs_dir, common, tmp_path):
    options = {**common, "max_steps": 1, "learning_rate": 0.0, "per_device_eval_batch_size": 5}
    output = train_here(tmp_path / "run", model_name_or_path=headed_dir, eval_dataset="pairs", do_eval=True, **options)
    results = json.loads((output / "all_results.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(headed_dir, dtype=torch.float32)
    head = load_head(headed_dir, 32, where="")
    with torch.no_grad():
        scores = torch.stack(
            [
                torch.stack([head(model.model(torch.tensor([ids])).last_hidden_state[0, -1]) for ids in pair])
                for pair in rows_of(headed_dir, pairs_dir)
            ]
        )
    difference = scores[:, 0] - scores[:, 1]
    assert results["eval_accuracy"] == pytest.approx((difference > 0).float().mean().item())
    assert results["eval_loss"] == pytest.approx(-torch.nn.functional.logsigmoid(difference).mean().item(), abs=1e-4)
    assert "eval_perplexity" not in results


def test_checkpointing_gives_the_same_losses(train_here, log_of, headed_dir, common, tmp_path):
    runs = [
        train_here(tmp_path / str(on), model_name_or_path=headed_dir, gradient_checkpointing=on, **common)
        for on in (True, False)
    ]
    assert log_of(runs[0], "loss") == pytest.approx(log_of(runs[1], "loss"), abs=1e-5)


def test_a_head_of_an_old_file_is_read_without_running_code(tmp_path):
    torch.save(
        {"v_head.summary.weight": torch.ones(1, 4), "v_head.summary.bias": torch.zeros(1)}, tmp_path / "value_head.bin"
    )
    assert load_head(tmp_path, 4, where="reward_model").summary.weight.sum() == 4

    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    (tmp_path / "evil").mkdir()
    torch.save({"v_head.summary.weight": Evil()}, tmp_path / "evil" / "value_head.bin")
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        load_head(tmp_path / "evil", 4, where="reward_model")


def test_a_head_that_is_missing_or_of_another_size_is_told(tmp_path):
    with pytest.raises(RequestError, match="holds no reward model"):
        load_head(tmp_path, 4, where="reward_model")
    save_file(
        {"v_head.summary.weight": torch.ones(1, 8), "v_head.summary.bias": torch.zeros(1)},
        tmp_path / "value_head.safetensors",
    )
    with pytest.raises(RequestError, match="does not fit"):
        load_head(tmp_path, 4, where="reward_model")
