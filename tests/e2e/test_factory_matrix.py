"""Files as LLaMA-Factory's examples write them, for each stage and method, train as they are: only the model is ours.

Own rows stand under the names and in the shapes of its demo sets, in `data/` of the folder that the program runs in, and
`reward_model` and `output_dir` are relative to it, as in its README. Each cell really trains: the steps that the file
asks for, weights that moved where the method trains and nowhere else, and the files of a finished run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("pt", "sft", "rm", "dpo", "kto", "ppo")
METHODS = ("full", "freeze", "lora", "qlora")
OFTEN = {"pt full", "rm lora", "ppo lora", "dpo freeze", "kto qlora"}
"""Cells that every test run trains; `make test-long` trains all."""

FILE = """
### model
model_name_or_path: {model}
trust_remote_code: true
{quantization}
### method
stage: {stage}
do_train: true
{method}
{own}
### dataset
dataset: {data}
template: llama3
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4

### output
output_dir: saves/llama3-8b/{folder}/{stage}
logging_steps: 1
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none  # choices: [none, wandb, tensorboard, swanlab, mlflow]

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: {rate}
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
{evaluation}
"""
METHOD = {
    "full": "finetuning_type: full",
    "freeze": "finetuning_type: freeze\nfreeze_trainable_layers: 2\nfreeze_trainable_modules: all",
    "lora": "finetuning_type: lora\nlora_rank: 8\nlora_target: all",
}
DATA = {"pt": "c4_demo", "sft": "identity,alpaca_en_demo", "rm": "dpo_en_demo", "dpo": "dpo_en_demo", "kto": "kto_en_demo",
        "ppo": "identity,alpaca_en_demo"}  # fmt: skip
OWN = {
    "dpo": "pref_beta: 0.1\npref_loss: sigmoid  # choices: [sigmoid (dpo), orpo, simpo]\n",
    "kto": "pref_beta: 0.1\n",
}
EVALUATION = "\n### eval\nval_size: 0.1\nper_device_eval_batch_size: 1\neval_strategy: steps\neval_steps: 500\n"
MARKS = "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"


@pytest.fixture(scope="module")
def llama3(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model of four blocks whose tokenizer has Llama 3's marks."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("model") / "Meta-Llama-3-8B-Instruct"
    shutil.copytree(model_dir, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens(
        {"bos_token": MARKS[0], "eos_token": "<|eot_id|>", "additional_special_tokens": list(MARKS)}
    )
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = LlamaConfig.from_pretrained(model_dir)
    config.vocab_size, config.num_hidden_layers = len(tokenizer), 4
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.max_position_embeddings = 2048
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/` as LLaMA-Factory's repository has it."""
    folder = tmp_path_factory.mktemp("factory")
    data = folder / "data"
    data.mkdir()
    names = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gil", "Hal")
    alpaca = [{"instruction": f"Who is {name}?", "input": "", "output": f"{name} is a friend."} for name in names]
    pairs = [
        {"conversations": [{"from": "human", "value": f"Greet {name}."}],
         "chosen": {"from": "gpt", "value": f"Hello {name}!"}, "rejected": {"from": "gpt", "value": "No."}}
        for name in names
    ]  # fmt: skip
    judged = [
        {"messages": [{"role": "user", "content": f"Greet {name}."}, {"role": "assistant", "content": f"Hi {name}!"}],
         "label": number % 2 == 0}
        for number, name in enumerate(names)
    ]  # fmt: skip
    files = {"identity": alpaca[:4], "alpaca_en_demo": alpaca[4:], "dpo_en_demo": pairs, "kto_en_demo": judged}
    for name, rows in files.items():
        (data / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    texts = [json.dumps({"text": f"{name} went to the market and came home late. " * 4}) for name in names]
    (data / "c4_demo.jsonl").write_text("\n".join(texts), encoding="utf-8")
    info: dict[str, Any] = {
        "identity": {"file_name": "identity.json"},
        "alpaca_en_demo": {"file_name": "alpaca_en_demo.json"},
        "dpo_en_demo": {"file_name": "dpo_en_demo.json", "ranking": True, "formatting": "sharegpt",
                        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}},
        "kto_en_demo": {"file_name": "kto_en_demo.json", "formatting": "sharegpt",
                        "columns": {"messages": "messages", "kto_tag": "label"},
                        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
                                 "assistant_tag": "assistant", "system_tag": "system"}},
        "c4_demo": {"file_name": "c4_demo.jsonl", "columns": {"prompt": "text"}},
    }  # fmt: skip
    (data / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def text_of(stage: str, method: str, model: Path) -> str:
    """The file of a cell."""
    own = OWN.get(stage, "")
    if stage == "ppo":
        # As LLaMA-Factory asks for: a reward adapter for an adapter, a whole reward model for the others.
        kind = "lora" if "lora" in method else "full"
        own = f"reward_model: saves/llama3-8b/{kind}/rm\nreward_model_type: {kind}\n"
        own += "max_new_tokens: 512\ntop_k: 0\ntop_p: 0.9\n"
    return FILE.format(
        model=model, stage=stage, folder=method, data=DATA[stage], own=own, method=METHOD[method.removeprefix("q")],
        quantization="quantization_bit: 4\nquantization_method: bnb\n" if method == "qlora" else "",
        rate="1.0e-5" if method == "full" else "1.0e-4", evaluation=EVALUATION if stage in ("sft", "rm") else "",
    )  # fmt: skip


def train(forked: Any, stage: str, method: str, model: Path, workplace: Path) -> Path:
    """Run the file of a cell; where the run's files are."""
    (workplace / "run.yaml").write_text(text_of(stage, method, model), encoding="utf-8")
    forked.run(["train", "run.yaml"], workplace / "log", {"FORKED_IN": str(workplace)})
    return workplace / "saves" / "llama3-8b" / method / stage


@pytest.mark.parametrize(
    ("stage", "method"),
    [
        pytest.param(
            stage, method, id=f"{stage} {method}", marks=() if f"{stage} {method}" in OFTEN else pytest.mark.long
        )
        for stage in STAGES
        for method in METHODS
    ],
)
def test_a_file_of_llama_factory_trains(forked, llama3, workplace, stage, method):
    if stage == "ppo":
        reward = workplace / "saves" / "llama3-8b" / ("lora" if "lora" in method else "full") / "rm"
        if not reward.is_dir():
            train(forked, "rm", reward.parent.name, llama3, workplace)
    output = train(forked, stage, method, llama3, workplace)
    entries = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    assert len(losses) >= 3
    assert all(loss == loss for loss in losses)
    report = json.loads((output / "run.json").read_text())
    assert (report["options"]["run"]["stage"], report["status"]) == (stage, "finished")
    assert (output / "training_loss.png").is_file()
    if "lora" in method:
        adapter = load_file(output / "adapter_model.safetensors")
        moved = [name for name, value in adapter.items() if "lora_B" in name and bool(value.any())]
        assert len(moved) == len([name for name in adapter if "lora_B" in name]) == 4 * 7
        return
    base, trained = load_file(llama3 / "model.safetensors"), load_file(output / "model.safetensors")
    names = [name for name in base if name in trained]
    assert len(names) == len(base)
    moved = {name for name in names if not torch.equal(base[name].float(), trained[name].float())}
    trains = [n for n in names if method == "full" or n.startswith(("model.layers.2.", "model.layers.3."))]
    assert moved == set(trains)
