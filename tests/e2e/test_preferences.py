"""Preference stages through the program: methods, LLaMA-Factory's own YAML files, files left, merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
OWN = json.loads((ROOT / "data" / "preferences.json").read_text(encoding="utf-8"))

# What LLaMA-Factory's examples/train_lora/*_dpo.yaml and *_kto.yaml look like; only the model and the folder are ours.
LLAMA_FACTORY = """
### model
model_name_or_path: {model}
trust_remote_code: true

### method
stage: {stage}
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
pref_beta: 0.1
{loss}
### dataset
dataset: {data}
template: qwen
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 2
dataloader_num_workers: 2

### output
output_dir: {output}
logging_steps: 1
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none  # choices: [none, wandb, tensorboard, swanlab, mlflow]

### train
per_device_train_batch_size: 2
gradient_accumulation_steps: 4
learning_rate: 5.0e-3
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
"""


@pytest.fixture(scope="module")
def factory_data(tmp_path_factory) -> Path:
    """Own rows in the shapes and under the entries of LLaMA-Factory's demo sets."""
    folder = tmp_path_factory.mktemp("factory")
    pairs = [
        {"conversations": [{"from": "human", "value": row["instruction"]}],
         "chosen": {"from": "gpt", "value": row["chosen"]}, "rejected": {"from": "gpt", "value": row["rejected"]}}
        for row in OWN
    ]  # fmt: skip
    (folder / "dpo_en_demo.json").write_text(json.dumps(pairs), encoding="utf-8")
    (folder / "kto_en_demo.json").write_text((ROOT / "data" / "feedback.json").read_text(encoding="utf-8"))
    info = {
        "dpo_en_demo": {"file_name": "dpo_en_demo.json", "ranking": True, "formatting": "sharegpt",
                        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}},
        "kto_en_demo": {"file_name": "kto_en_demo.json", "formatting": "sharegpt",
                        "columns": {"messages": "messages", "kto_tag": "label"},
                        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
                                 "assistant_tag": "assistant", "system_tag": "system"}},
    }  # fmt: skip
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def log(output: Path) -> list[dict]:
    lines = (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if "loss" in entry]


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_an_example_of_llama_factory_runs_unmodified(plugtune, model_dir, factory_data, tmp_path, stage):
    loss = "pref_loss: sigmoid  # choices: [sigmoid (dpo), orpo, simpo]\n" if stage == "dpo" else ""
    output = tmp_path / "saves"
    text = LLAMA_FACTORY.format(model=model_dir, stage=stage, loss=loss, data=f"{stage}_en_demo", output=output)
    (tmp_path / "example.yaml").write_text(text)
    done = plugtune("train", tmp_path / "example.yaml", "--dataset_dir", factory_data)
    assert done.returncode == 0, done.stderr
    entries = log(output)
    assert entries[-1]["rewards/margins"] > 0.02
    assert entries[-1]["loss"] < entries[0]["loss"]
    assert (output / "training_loss.png").is_file()
    if stage == "dpo":
        merged = plugtune("export", "--model_name_or_path", model_dir, "--adapter_name_or_path", output, "--export_dir",
                          tmp_path / "merged", "--json")  # fmt: skip
        assert json.loads(merged.stdout)["files"] == ["model.safetensors"], merged.stderr


CELLS = [
    ("dpo", ("--finetuning_type", "full")),
    ("dpo", ("--quantization_bit", 4, "--quantization_type", "nf4")),
    ("orpo", ()),
    ("simpo", ()),
]


@pytest.mark.parametrize(("stage", "flags"), CELLS, ids=["dpo full", "dpo qlora", "orpo lora", "simpo lora"])
def test_the_bundled_preferences_are_learned(plugtune, model_dir, tmp_path, stage, flags):
    done = plugtune(
        "train", "--stage", stage, "--do_train", "--model_name_or_path", model_dir, "--dataset", "preferences",
        "--dataset_dir", ROOT / "data", "--output_dir", tmp_path / "out", "--max_steps", 12, "--logging_steps", 1,
        "--per_device_train_batch_size", 8, "--learning_rate", "5e-3", "--report_to", "tensorboard", "--logging_dir",
        tmp_path / "tb", *flags,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = log(tmp_path / "out")
    assert entries[-1]["rewards/margins"] > entries[0]["rewards/margins"]
    assert entries[-1]["loss"] < entries[0]["loss"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next((tmp_path / "tb").glob("events*"))))
    events.Reload()
    assert "train/rewards/accuracies" in events.Tags()["scalars"]


@pytest.mark.parametrize("name", ["dpo_lora", "kto_lora", "orpo_lora", "simpo_lora"])
def test_the_examples_resolve(host, model_dir, tmp_path, name):
    from plugtune.options.reader import read_request
    from plugtune.training.run import dry_run

    args = [ROOT / "examples" / f"{name}.yaml", "--model_name_or_path", model_dir, "--dataset_dir", ROOT / "data",
            "--output_dir", tmp_path / "x"]  # fmt: skip
    assert dry_run(read_request([str(arg) for arg in args]), host)["stage"] == name.partition("_")[0]
