"""Rows laid end to end give the loss and the gradients of the plain padded computation; checkpoints are whole or absent."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from plugtune.errors import RequestError
from plugtune.training import attention
from plugtune.training.checkpoint import choose, publish, verify
from plugtune.training.collate import EndToEndCollator, PaddedCollator
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

SIZES = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=8),
    "mistral with a window": MistralConfig(**SIZES, sliding_window=6),
    "gemma": GemmaConfig(**SIZES, head_dim=8),
}


def rows() -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    result = []
    for length, prompt in ((9, 4), (17, 3), (5, 1), (12, 11)):
        ids = torch.randint(1, 101, (length,), generator=generator).tolist()
        result.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return result


def plain_loss(model, batch_rows) -> torch.Tensor:
    """The textbook: each row by itself, all logits, mean over all trained tokens. Uses no batch of ours."""
    total, count = torch.zeros(()), 0
    for row in batch_rows:
        logits = model(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0, :-1]
        labels = torch.tensor(row["labels"][1:])
        total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        count += int((labels != -100).sum())
    return total / count


def gradients(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_rows_end_to_end_equal_rows_by_themselves(name, checkpointing):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[name]), dtype=torch.float32).train()
    expected = plain_loss(model, rows())
    wanted = gradients(model, expected)
    assert attention.enable(model), "this model computes rows independently"
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    batch = EndToEndCollator()(rows())
    with attention.segments():
        loss = model(**batch, use_cache=False).loss
    found = gradients(model, loss)
    assert abs(float(loss) - float(expected)) < 1e-5
    largest = max(g.abs().max() for g in wanted.values())
    for key, gradient in wanted.items():
        assert (gradient - found[key]).abs().max() / largest < 1e-4, key


def test_packed_parts_do_not_see_each_other():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS["llama"]), dtype=torch.float32).eval()
    attention.enable(model)
    one, two = rows()[:2]
    packed = {"input_ids": one["input_ids"] + two["input_ids"], "labels": one["labels"] + two["labels"],
              "lengths": [len(one["input_ids"]), len(two["input_ids"])]}  # fmt: skip
    expected = plain_loss(model, [one, two])
    with attention.segments():
        assert abs(float(model(**EndToEndCollator()([packed]), use_cache=False).loss) - float(expected)) < 1e-5
    padded = PaddedCollator(0)([packed])
    assert padded["input_ids"].shape == (2, 17)


def test_a_model_that_mixes_rows_is_noticed_and_left_alone():
    from transformers import BloomConfig

    model = AutoModelForCausalLM.from_config(BloomConfig(vocab_size=101, hidden_size=32, n_layer=2, n_head=4))
    assert attention.enable(model) is False


def test_generation_is_untouched_by_the_switch():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS["llama"]), dtype=torch.float32).eval()
    ids = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    before = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=8, pad_token_id=0)
    attention.enable(model)
    after = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=8, pad_token_id=0)
    assert torch.equal(before, after)


def checkpoint(run: Path, step: int) -> Path:
    staged = run / ".saving" / f"checkpoint-{step}"
    staged.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
        (staged / name).write_text(f"{name} {step}")
    publish(run, step)
    return run / f"checkpoint-{step}"


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_resume_passes_over_a_damaged_checkpoint_and_says_so(tmp_path, damage):
    whole, newest = checkpoint(tmp_path, 3), checkpoint(tmp_path, 6)
    if damage == "truncate":
        (newest / "optimizer.pt").write_text("x")
    elif damage == "remove":
        (newest / "optimizer.pt").unlink()
    else:
        (newest / "manifest.json").unlink()
    chosen, notes = choose(tmp_path, True)
    assert chosen == whole
    assert "checkpoint-6" in notes[0]
    with pytest.raises(RequestError, match="not whole"):
        choose(tmp_path, str(newest))


def test_a_checkpoint_appears_only_when_it_is_whole(tmp_path):
    folder = checkpoint(tmp_path, 1)
    assert verify(folder) == ""
    assert json.loads((folder / "manifest.json").read_text())["step"] == 1
    assert not (tmp_path / ".saving").exists()
    (tmp_path / ".saving" / "checkpoint-2").mkdir(parents=True)
    assert choose(tmp_path, True)[0] == folder


def test_resume_without_any_whole_checkpoint_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no whole checkpoint"):
        choose(tmp_path, True)
