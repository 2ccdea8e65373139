"""Tricks that users name: each is held to its paper's formula, not just run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from plugtune.errors import RequestError
from plugtune.inference.export import run_export
from plugtune.options.reader import read_request
from plugtune.training.planner import make_plan
from plugtune.training.run import run_training
from plugtune_stage_sft.dft import dft_losses
from transformers import AutoModelForCausalLM

IDS = torch.tensor([[3, 5, 7, 11, 13, 17]])


def logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()(IDS).logits


@pytest.fixture
def train(host, model_dir, tmp_path):
    """Runs sft on four rows; gives the folder."""
    rows = [{"instruction": f"Say {n}.", "output": f"Well, {n}."} for n in range(4)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))

    def run(name: str, *flags: object, model: Path = model_dir) -> Path:
        args = ["--do_train", "--model_name_or_path", model, "--dataset", "rows", "--dataset_dir", tmp_path,
                "--output_dir", tmp_path / name, "--bf16", "false", "--logging_steps", 1, "--max_steps", 2,
                "--template", "chatml", *flags]  # fmt: skip
        run_training(read_request([str(arg) for arg in args]), host)
        return tmp_path / name

    return run


def losses(folder: Path) -> list[float]:
    lines = (folder / "trainer_log.jsonl").read_text().splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


def test_dft_weighs_the_gradient_of_each_token_by_its_probability():
    torch.manual_seed(0)
    values, labels = torch.randn(5, 7, requires_grad=True), torch.tensor([0, 6, 3, 3, 1])
    dft_losses(values, labels).sum().backward()
    chances = values.detach().softmax(-1)
    own = chances.gather(1, labels[:, None])
    assert torch.allclose(values.grad, own * (chances - torch.eye(7)[labels]), atol=1e-6)


@pytest.mark.e2e
def test_a_run_with_dft_trains_on_it_and_evaluates_plainly(train):
    same = (
        "--learning_rate",
        0,
        "--do_eval",
        "--eval_dataset",
        "rows",
        "--max_steps",
        1,
        "--per_device_train_batch_size",
        4,
    )
    plain, dft = train("plain", *same), train("dft", *same, "--use_dft_loss", "true")
    results = [json.loads((folder / "all_results.json").read_text()) for folder in (plain, dft)]
    assert results[1]["eval_loss"] == pytest.approx(results[0]["eval_loss"], abs=1e-5)
    assert losses(dft)[0] < 0.1 * losses(plain)[0], "an untrained model gives every token a small probability"


@pytest.mark.e2e
def test_expanded_blocks_change_nothing_until_they_alone_are_trained(host, train, model_dir, tmp_path):
    export = ["--model_name_or_path", model_dir, "--exporter", "expanded", "--expand_blocks", "2", "--export_dir",
              tmp_path / "expanded"]  # fmt: skip
    run_export(read_request([str(arg) for arg in export]), host)
    assert json.loads((tmp_path / "expanded" / "config.json").read_text())["num_hidden_layers"] == 4
    assert torch.allclose(logits(tmp_path / "expanded"), logits(model_dir), atol=1e-6)
    out = train("pro", "--finetuning_type", "freeze", "--use_llama_pro", "true", "--freeze_trainable_layers", 2,
                "--learning_rate", "1e-2", model=tmp_path / "expanded")  # fmt: skip
    before, after = (AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (tmp_path / "expanded", out))
    moved = {name.split(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"1", "3"}, "the added blocks stand behind each of the two original ones"


@pytest.mark.e2e
def test_oft_turns_inputs_and_merges_into_the_same_model(host, train, model_dir, tmp_path):
    out = train(
        "oft", "--finetuning_type", "oft", "--oft_block_size", 8, "--learning_rate", "1e-2", "--oft_target", "q_proj"
    )
    export = ["--model_name_or_path", model_dir, "--adapter_name_or_path", out, "--export_dir", tmp_path / "merged",
              "--template", "chatml"]  # fmt: skip
    run_export(read_request([str(arg) for arg in export]), host)
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    plain = {name: value.clone() for name, value in base.state_dict().items()}
    with torch.no_grad():
        tuned = PeftModel.from_pretrained(base, out).eval()(IDS).logits
    assert not torch.allclose(tuned, logits(model_dir), atol=1e-4)
    assert torch.allclose(tuned, logits(tmp_path / "merged"), atol=1e-4)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    changed = {name for name in plain if not torch.allclose(plain[name], merged[name], atol=1e-6)}
    assert changed == {f"model.layers.{n}.self_attn.q_proj.weight" for n in range(2)}
    for name in changed:  # a rotation keeps the lengths of a neuron's weights
        assert torch.allclose(plain[name].norm(dim=1), merged[name].norm(dim=1), rtol=1e-3)


@pytest.mark.e2e
def test_lora_plus_moves_b_faster_by_its_ratio(train):
    from safetensors.torch import load_file

    sizes = {}
    for name, extra in (("plain", ()), ("plus", ("--loraplus_lr_ratio", 16))):
        out = train(name, "--max_steps", 1, "--learning_rate", "1e-4", "--lr_scheduler_type", "constant", *extra)
        weights = load_file(out / "adapter_model.safetensors")
        sizes[name] = max(value.abs().max().item() for key, value in weights.items() if "lora_B" in key)
    assert sizes["plain"] == pytest.approx(1e-4, rel=1e-2), "Adam's first step is the learning rate"
    assert sizes["plus"] == pytest.approx(16e-4, rel=1e-2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--finetuning_type oft --oft_rank 4", "decide each other"),
        ("--finetuning_type oft --quantization_bit 4", "4-bit"),
        ("--use_dft_loss true --label_smoothing_factor 0.1", "does not go with use_dft_loss"),
        ("--finetuning_type full --use_badam true --fsdp true", "fsdp"),
    ],
)
def test_what_does_not_go_together_is_refused(host, flags, message):
    request = read_request(f"--do_train --model_name_or_path m --dataset d --output_dir o {flags}".split())
    with pytest.raises(RequestError, match=message):
        make_plan(request, host)


@pytest.mark.e2e
def test_an_export_says_that_an_adapter_was_trained_over_a_rounded_base(host, train, model_dir, tmp_path):
    pytest.importorskip("bitsandbytes")
    out = train("qlora", "--quantization_bit", 4)
    export = ["--model_name_or_path", model_dir, "--adapter_name_or_path", out, "--export_dir", tmp_path / "merged",
              "--template", "chatml"]  # fmt: skip
    report = run_export(read_request([str(arg) for arg in export]), host)
    assert any("trained over a quantized base" in note and "(4 bits)" in note for note in report.notes)
