"""Stages beyond pretraining and supervised tuning in two processes: the same numbers as one with twice the batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from two_processes import as_two, entries, losses

pytestmark = [pytest.mark.e2e, pytest.mark.long]

WITNESS = """
import hashlib, json, os
from pathlib import Path
import plugtune

RANK = os.environ.get("RANK", "0")

def told(name, entry):
    with open(Path(os.environ["WITNESS"]) / f"{name}-{RANK}", "a") as out:
        out.write(json.dumps(entry) + "\\n")

def share(prompts, completion_ids, **_):
    told("prompts", prompts)
    return [sum(token < 150 for token in ids) / max(len(ids), 1) for ids in completion_ids]

@plugtune.hookimpl
def plugtune_callbacks(plan):
    from transformers import TrainerCallback

    class Weights(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            digest = hashlib.sha256()
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    digest.update(parameter.detach().numpy().tobytes())
            told("weights", digest.hexdigest())

    return [Weights()] if "WITNESS" in os.environ else []
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    pairs = [
        {"instruction": f"Question {n} " + "word " * (n % 7), "chosen": f"Yes {n}" + " truly" * (n % 3),
         "rejected": f"No {n}" + " never" * (n % 4)}
        for n in range(21)
    ]  # fmt: skip
    judged = [
        {"instruction": row["instruction"], "output": row["rejected" if n % 3 else "chosen"], "good": n % 3 == 0}
        for n, row in enumerate(pairs)
    ]
    files = {"pairs": pairs, "judged": judged, "prompts": [{**row, "output": "-"} for row in judged[:7]]}
    for name, rows in files.items():
        (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    columns = {"prompt": "instruction", "response": "output", "kto_tag": "good"}
    info = {
        "pairs": {"file_name": "pairs.json", "ranking": True},
        "judged": {"file_name": "judged.json", "columns": columns},
        "prompts": {"file_name": "prompts.json"},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "witness_plugin.py").write_text(WITNESS)
    about = folder / "witness_plugin-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: witness-plugin\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[plugtune]\nwitness = witness_plugin\n[plugtune.api]\nwitness = v1_0\n")
    return folder


@pytest.fixture
def command(model_dir, data_dir):
    def make(output: Path, *extra: object) -> list[str]:
        args = [
            "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "pairs", "--dataset_dir", data_dir,
            "--output_dir", output, "--learning_rate", "1e-2", "--logging_steps", 1, "--bf16", "false", *extra,
        ]  # fmt: skip
        return [str(arg) for arg in args]

    return make


FULL = ("--finetuning_type", "full", "--learning_rate", "1e-3")
CELLS = {
    "rm lora": ("--stage", "rm", "--num_train_epochs", 2),
    "rm full, accumulated": ("--stage", "rm", *FULL, "--gradient_accumulation_steps", 2, "--num_train_epochs", 2),
    "dpo lora": ("--stage", "dpo", "--num_train_epochs", 2),
    "dpo full, accumulated": ("--stage", "dpo", *FULL, "--gradient_accumulation_steps", 2, "--num_train_epochs", 2),
    "dpo kto_pair with bco": ("--stage", "dpo", "--pref_loss", "kto_pair", "--pref_bco_weight", 0.5, "--pref_ftx", 0.1),
    "dpo padded": ("--stage", "dpo", "--plain_loss", "true"),
    "orpo lora": ("--stage", "orpo",),
    "kto lora": ("--stage", "kto", "--dataset", "judged", "--num_train_epochs", 2),
    "kto full, accumulated": ("--stage", "kto", "--dataset", "judged", *FULL, "--gradient_accumulation_steps", 2,
                              "--num_train_epochs", 2),
}  # fmt: skip
MEASURED = ("loss", "eval_loss", "rewards/chosen", "rewards/margins", "rewards/accuracies", "kl", "accuracy", "margin",
            "eval_accuracy", "eval_rewards/accuracies")  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_two_processes_equal_one_with_twice_the_batch(forked, command, tmp_path, cell):
    """21 rows in steps of 4 or 8: the last step has one row, or one for one process and none for the other."""
    evaluated = ("--do_eval", "--eval_dataset", "judged" if "kto lora" in cell or "kto full" in cell else "pairs")
    one = command(tmp_path / "one", *CELLS[cell], *evaluated, "--per_device_train_batch_size", 4,
                  "--per_device_eval_batch_size", 4)  # fmt: skip
    forked.run(one, tmp_path / "log")
    two = command(tmp_path / "two", *CELLS[cell], *evaluated, "--per_device_train_batch_size", 2,
                  "--per_device_eval_batch_size", 2)  # fmt: skip
    as_two(forked, two, tmp_path)
    assert len(losses(tmp_path / "one")) > 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    for single, double in zip(entries(tmp_path / "one"), entries(tmp_path / "two"), strict=True):
        for name in set(MEASURED) & set(single):
            assert double[name] == pytest.approx(single[name], abs=2e-4), name
    results = [json.loads((tmp_path / name / "all_results.json").read_text()) for name in ("one", "two")]
    assert results[1]["eval_loss"] == pytest.approx(results[0]["eval_loss"], abs=1e-5)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_two_processes_resume_in_the_middle_of_a_later_epoch(forked, command, tmp_path, stage):
    data = ("--dataset", "judged") if stage == "sft" else ()
    args = command(tmp_path / "two", "--stage", stage, *data, "--gradient_accumulation_steps", 2,
                   "--per_device_train_batch_size", 2, "--num_train_epochs", 2, "--save_steps", 4)  # fmt: skip
    as_two(forked, args, tmp_path)
    before = losses(tmp_path / "two")
    as_two(forked, [*args, "--resume_from_checkpoint", str(tmp_path / "two" / "checkpoint-4")], tmp_path)
    assert len(before) == 6
    assert losses(tmp_path / "two") == pytest.approx(before, abs=1e-6)


ONLINE = ("--dataset", "prompts", "--max_new_tokens", 6, "--top_p", "1.0", "--top_k", 0, "--temperature", "1.0",
          "--per_device_train_batch_size", 2)  # fmt: skip
SAMPLED = {
    "ppo lora": ("--stage", "ppo", "--reward_model_type", "function", "--reward_model", "witness_plugin:share",
                 "--ppo_epochs", 2, "--gradient_accumulation_steps", 2),
    "ppo full": ("--stage", "ppo", "--reward_model_type", "function", "--reward_model", "witness_plugin:share",
                 "--ppo_score_norm", "true", "--ppo_whiten_rewards", "true", *FULL, "--ppo_epochs", 1),
    "grpo lora": ("--stage", "grpo", "--reward_funcs", "witness_plugin:share", "--num_generations", 2, "--beta", 0.1),
}  # fmt: skip


@pytest.mark.parametrize("cell", SAMPLED)
def test_two_processes_sample_apart_and_stay_one_model(forked, command, data_dir, tmp_path, cell):
    """Seven prompts for two processes: the weights are the same on both after every step, each prompt is answered once
    an epoch, and the logged reward is the mean over both."""
    env = {"PYTHONPATH": str(data_dir), "WITNESS": str(tmp_path)}
    as_two(forked, command(tmp_path / "two", *ONLINE, *SAMPLED[cell], "--num_train_epochs", 2), tmp_path, **env)
    weights = [(tmp_path / f"weights-{rank}").read_text().splitlines() for rank in range(2)]
    assert weights[0] == weights[1]
    assert len(set(weights[0])) == len(weights[0]) > 2, "every step changes the weights"
    asked = [[json.loads(line) for line in (tmp_path / f"prompts-{r}").read_text().splitlines()] for r in range(2)]
    repeats = 2 if "grpo" in cell else 1
    walk = [prompt for buffers in zip(*asked, strict=True) for buffer in buffers for prompt in buffer[::repeats]]
    assert len(set(walk[:7])) == 7
    assert set(walk[7:14]) <= set(walk[:7])
    assert len(set(walk[7:14])) == min(7, len(walk) - 7)
    rewards = [entry["reward"] for entry in entries(tmp_path / "two") if "reward" in entry]
    assert len(rewards) > 1
    assert all(0 <= reward <= 1 for reward in rewards)


STRANGE = """
import plugtune

@plugtune.hookimpl
def plugtune_stages():
    return [plugtune.Stage(name="strange", summary="strange", rows="conversation", encoder="strange_code:encoder",
                           trainer="strange_code:build")]
"""
STRANGE_CODE = """
from plugtune.data.conversation_encoder import ConversationEncoder as encoder
from transformers import DataCollatorForSeq2Seq, Trainer

def build(context):
    return Trainer(model=context.model, args=context.arguments, train_dataset=context.train_rows,
                   data_collator=DataCollatorForSeq2Seq(context.tokenizer))
"""


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin whose stage builds a plain `transformers.Trainer`."""
    site = tmp_path_factory.mktemp("site")
    (site / "strange_plugin.py").write_text(STRANGE)
    (site / "strange_code.py").write_text(STRANGE_CODE)
    about = site / "strange-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[plugtune]\nstrange = strange_plugin\n[plugtune.api]\nstrange = v1_1\n")
    return site


FSDP = ("--fsdp", "full_shard auto_wrap", "--fsdp_config", '{"fsdp_version": 2}')


@pytest.mark.parametrize("sharding", [(), FSDP], ids=["ddp", "fsdp"])
def test_a_plain_trainer_of_a_plugin_resumes_in_the_middle_of_a_later_epoch(
    forked, command, strange, tmp_path, sharding
):
    """Its order of rows after a resume is that of the run without one; FSDP2 shards on CPU processes."""
    args = command(tmp_path / "two", "--stage", "strange", "--dataset", "judged", *FULL, *sharding,
                   "--per_device_train_batch_size", 2, "--num_train_epochs", 2, "--save_steps", 8)  # fmt: skip
    as_two(forked, args, tmp_path, PYTHONPATH=str(strange))
    before = losses(tmp_path / "two")
    strategy = json.loads((tmp_path / "two" / "run.json").read_text())["devices"]["strategy"]
    assert strategy == ("fully sharded (FSDP)" if sharding else "data parallel (DDP)")
    resumed = [*args, "--resume_from_checkpoint", str(tmp_path / "two" / "checkpoint-8")]
    as_two(forked, resumed, tmp_path, PYTHONPATH=str(strange))
    assert losses(tmp_path / "two") == pytest.approx(before, abs=1e-6)
