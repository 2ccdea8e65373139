"""Trainers that others write in the usual way, against supervised fine-tuning: same rows, same loss, same files."""

from __future__ import annotations

import json

import pytest
from plugtune.testkit.base import plugtune
from plugtune.testkit.run import losses

pytestmark = pytest.mark.e2e

PLUGIN = """
import plugtune

@plugtune.hookimpl
def plugtune_stages():
    return [
        plugtune.Stage(name=name, summary=name, rows="conversation", encoder="strange_code:encoder",
                       trainer=f"strange_code:{name}")
        for name in ("own_loss", "plain_trainer", "no_trainer")
    ]
"""
CODE = """
import torch
from plugtune.data.conversation_encoder import ConversationEncoder as encoder
from plugtune.training.trainer import PlugtuneTrainer
from transformers import DataCollatorForSeq2Seq, Trainer

class OwnLoss(PlugtuneTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits, targets = outputs.logits[:, :-1].float(), labels[:, 1:]
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
        count = (targets != -100).sum() if num_items_in_batch is None else num_items_in_batch
        return (total / count, outputs) if return_outputs else total / count

def own_loss(context):
    return OwnLoss(context)

def plain_trainer(context):
    return Trainer(model=context.model, args=context.arguments, train_dataset=context.train_rows,
                   eval_dataset=context.eval_rows, data_collator=DataCollatorForSeq2Seq(context.tokenizer))

def no_trainer(context):
    return "trainer"
"""


@pytest.fixture
def stage(tmp_path, monkeypatch, model_dir):
    """Runs a stage in this process, which sees one more plugin than is installed; the ended command and its folder."""
    site = tmp_path / "site"
    info = site / "strange-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: strange\nVersion: 1.0\nRequires-Dist: plugtune>=0.1,<0.2\n"
    )
    (info / "entry_points.txt").write_text("[plugtune]\nstrange = strange_plugin\n[plugtune.api]\nstrange = v1_1\n")
    (site / "strange_plugin.py").write_text(PLUGIN)
    (site / "strange_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(site))
    rows = [{"instruction": f"Q{n}" * (1 + n % 3), "output": f"Answer {n} " * (1 + n % 4)} for n in range(8)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))

    def run(name, *flags):
        output = tmp_path / f"{name}{len(flags)}"
        done = plugtune(
            "train", "--stage", name, "--do_train", "--model_name_or_path", model_dir, "--dataset", tmp_path / "rows.json",
            "--output_dir", output, "--finetuning_type", "full", "--per_device_train_batch_size", 8, "--max_steps", 3,
            "--logging_steps", 1, "--learning_rate", "1e-2", "--bf16", "false", *flags,
        )  # fmt: skip
        return done, output

    return run


@pytest.mark.parametrize("name", ["own_loss", "plain_trainer"])
def test_a_trainer_written_in_the_usual_way_trains_like_sft_and_leaves_what_every_run_leaves(stage, name):
    done, output = stage(name)
    assert done.returncode == 0, done.stderr
    _, reference = stage("sft")
    assert losses(output) == pytest.approx(losses(reference), rel=2e-5)
    assert {"model.safetensors", "run.json", "trainer_log.jsonl", "checkpoint-3"} <= {p.name for p in output.iterdir()}
    assert json.loads((output / "run.json").read_text())["metrics"]["train_tokens_per_second"] > 0


def test_its_loss_is_that_of_the_whole_step_when_gradients_are_accumulated(stage):
    _, output = stage("own_loss", "--per_device_train_batch_size", 4, "--gradient_accumulation_steps", 2)
    _, whole = stage("own_loss")
    assert losses(output) == pytest.approx(losses(whole), rel=2e-5)


def test_what_is_no_trainer_is_told_with_the_stage(stage):
    done, _ = stage("no_trainer")
    assert done.returncode == 2
    assert "stage no_trainer built str, which is no transformers.Trainer" in done.stderr
    assert "PlugtuneTrainer" in done.stderr
