"""NEFTune's noise: in training passes only, as large as the paper says for each row, whatever the batch looks like."""

from __future__ import annotations

import json

import pytest
import torch
from plugtune.options.reader import read_request
from plugtune.training.neftune import add_noise, noisy_rows
from plugtune.training.run import run_training
from plugtune.training.sequences import lay_out
from transformers import AutoModelForCausalLM

ALPHA = 5.0
ROWS = [[5, 6, 7, 8, 9, 10, 11, 12], [20, 21]]


@pytest.fixture
def model(model_dir):
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)


def noise(model, inputs) -> torch.Tensor:
    """What was added to the embeddings, `(B, T, size)`."""
    plain = model.get_input_embeddings().weight[inputs["input_ids"]].detach()
    with noisy_rows(inputs):
        return model.get_input_embeddings()(inputs["input_ids"]).detach() - plain


@pytest.mark.parametrize("end_to_end", [True, False])
def test_each_row_has_noise_for_its_own_length(model, end_to_end):
    add_noise(model, ALPHA)
    layout = lay_out(ROWS, end_to_end=end_to_end)
    found = torch.stack([noise(model.train(), layout.inputs) for _ in range(200)])
    flat = found.reshape(200, -1, found.shape[-1])
    for row, start in zip(ROWS, layout.starts, strict=True):
        bound = ALPHA / (len(row) * found.shape[-1]) ** 0.5
        part = flat[:, start : start + len(row)]
        assert part.abs().max() <= bound + 1e-6
        assert part.abs().max() > 0.99 * bound
        assert part.std() == pytest.approx(bound / 3**0.5, rel=0.02), "uniform between the bounds"
        assert part.mean().abs() < 0.02 * bound


def test_there_is_none_outside_training_passes(model):
    add_noise(model, ALPHA)
    inputs = lay_out(ROWS, end_to_end=True).inputs
    assert not noise(model.eval(), inputs).any()
    with torch.no_grad():
        assert not noise(model.train(), inputs).any(), "answers that are only measured get none"


@pytest.mark.e2e
@pytest.mark.parametrize("stage", ["sft", "rm", "dpo"])
def test_a_run_trains_with_noise_and_measures_without(host, model_dir, tmp_path, stage):
    """The training loss differs by the noise, the evaluation of untrained weights does not."""
    rows = [
        {"instruction": f"Say {n}.", "output": f"Well, {n}.", "chosen": f"Yes {n}.", "rejected": "No."}
        for n in range(4)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    info = {"file_name": "rows.json", **({} if stage == "sft" else {"ranking": True})}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": info}))
    found = {}
    for name, extra in (("plain", ()), ("noisy", ("--neftune_alpha", "5"))):
        args = ["--stage", stage, "--do_train", "--do_eval", "--model_name_or_path", model_dir, "--dataset", "rows",
                "--eval_dataset", "rows", "--dataset_dir", tmp_path, "--output_dir", tmp_path / name, "--max_steps", 1,
                "--learning_rate", "0", "--logging_steps", 1, "--bf16", "false", "--finetuning_type", "full", *extra]  # fmt: skip
        run_training(read_request([str(arg) for arg in args]), host)
        log = [json.loads(line) for line in (tmp_path / name / "trainer_log.jsonl").read_text().splitlines()]
        found[name] = log[0]["loss"], json.loads((tmp_path / name / "all_results.json").read_text())["eval_loss"]
    assert found["noisy"][1] == pytest.approx(found["plain"][1], abs=1e-6)
    assert found["noisy"][0] != pytest.approx(found["plain"][0], abs=1e-5)
