"""Preference and feedback stages against trl, against formulas on plain models, and against uninterrupted runs."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from plugtune.data.encoding import EncoderContext
from plugtune.data.feedback_encoder import FeedbackEncoder
from plugtune.data.preference_encoder import PreferenceEncoder
from plugtune.data.records import Conversation, Feedback, Message, Preference
from plugtune.options.groups import DataOptions
from plugtune.options.reader import read_request
from plugtune.templating.choose import bind
from plugtune.training.run import run_training

pytestmark = pytest.mark.e2e

ROWS = [
    {"instruction": f"Question {n}: is {n % 3} small? " + "word " * (n % 5),
     "chosen": "Yes, it is." + " Truly." * (n % 3), "rejected": "No no no." + " Never." * (n % 4)}
    for n in range(16)
]  # fmt: skip
STEPS = 6
COMMON = ("--do_train", "--overwrite_output_dir", "--logging_steps", 1, "--bf16", "false", "--template", "chatml",
          "--per_device_train_batch_size", 4, "--use_cpu", "true")  # fmt: skip


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "pairs.json").write_text(json.dumps(ROWS), encoding="utf-8")
    judged = [
        {"instruction": row["instruction"], "output": row["rejected" if n % 2 else "chosen"], "good": n % 2 == 0}
        for n, row in enumerate(ROWS)
    ]
    (folder / "judged.json").write_text(json.dumps(judged), encoding="utf-8")
    info = {
        "pairs": {"file_name": "pairs.json", "ranking": True},
        "judged": {
            "file_name": "judged.json",
            "columns": {"prompt": "instruction", "response": "output", "kto_tag": "good"},
        },
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


@pytest.fixture
def train(host, model_dir, data_dir, tmp_path):
    """Runs a stage in this process; gives the log's entries."""

    def run(stage: str, name: str = "run", *flags: object) -> list[dict]:
        args = ["--stage", stage, "--model_name_or_path", model_dir, "--dataset_dir", data_dir, "--output_dir",
                tmp_path / name, "--dataset", "judged" if stage == "kto" else "pairs", *COMMON, *flags]  # fmt: skip
        run_training(read_request([str(arg) for arg in args]), host)
        lines = (tmp_path / name / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
        return [entry for entry in map(json.loads, lines) if "loss" in entry]

    return run


def losses(entries: list[dict]) -> list[float]:
    return [entry["loss"] for entry in entries]


def encoder(kind, host, tokenizer):
    return kind(EncoderContext(tokenizer, bind("chatml", host.catalog, tokenizer), DataOptions()))


def pair_rows(host, tokenizer) -> list[dict]:
    records = [
        Preference(Conversation((Message("user", row["instruction"]),)), Message("assistant", row["chosen"]),
                   Message("assistant", row["rejected"]))
        for row in ROWS
    ]  # fmt: skip
    return [dict(rows[0].columns) for rows in encoder(PreferenceEncoder, host, tokenizer).encode(records)]


def trl_losses(kind: str, model_dir, tokenizer, rows: list[dict], tmp_path, **settings) -> list[dict]:
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    class Ours(getattr(trl, f"{kind}Trainer")):
        def _prepare_dataset(self, dataset, *args, **kwargs):
            return dataset  # token rows already

    arguments = getattr(trl, f"{kind}Config")(
        output_dir=str(tmp_path / "trl"), max_steps=STEPS, per_device_train_batch_size=4, learning_rate=1e-2,
        logging_steps=1, bf16=False, gradient_checkpointing=False, use_cpu=True, report_to="none", save_strategy="no",
        train_sampling_strategy="sequential", disable_tqdm=True, **settings,
    )  # fmt: skip
    model, reference = (AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32) for _ in range(2))
    trainer = Ours(model=model, ref_model=reference, args=arguments, train_dataset=Dataset.from_list(rows),
                   processing_class=tokenizer)  # fmt: skip
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


SAME_ORDER = ("--finetuning_type", "full", "--disable_shuffling", "--max_steps", STEPS, "--learning_rate", "1e-2")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("--pref_loss", "sigmoid"), {"loss_type": ["sigmoid"]}),
        (("--pref_loss", "hinge"), {"loss_type": ["hinge"]}),
        (("--pref_loss", "ipo"), {"loss_type": ["ipo"]}),
        (("--ld_alpha", 0.3, "--pref_beta", 0.5), {"ld_alpha": 0.3, "beta": 0.5}),
    ],
    ids=["sigmoid", "hinge", "ipo", "ld_alpha"],
)
def test_dpo_gives_the_losses_of_trl(train, host, model_dir, tokenizer, tmp_path, ours, theirs):
    mine = train("dpo", "run", *SAME_ORDER, *ours)
    other = trl_losses("DPO", model_dir, tokenizer, pair_rows(host, tokenizer), tmp_path, **theirs)
    for name in ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen"):
        assert [e[name] for e in mine[1:]] == pytest.approx([e[name] for e in other[1:]], rel=1e-5, abs=1e-5), name
    assert losses(mine) == pytest.approx(losses(other), abs=1e-5)


def test_kto_gives_the_losses_of_trl(train, host, model_dir, tokenizer, tmp_path):
    mine = train("kto", "run", *SAME_ORDER, "--kto_rejected_weight", 1.5)
    records = [
        Feedback(Conversation((Message("user", row["instruction"]), Message("assistant", row["rejected" if n % 2 else "chosen"]))), n % 2 == 0)
        for n, row in enumerate(ROWS)
    ]  # fmt: skip
    rows = [dict(out[0].columns) for out in encoder(FeedbackEncoder, host, tokenizer).encode(records)]
    theirs = [
        {"prompt_ids": row["prompt_ids"], "completion_ids": row["answer_ids"], "label": bool(row["desirable"][0]),
         "KL_completion_ids": rows[n // 4 * 4 + (n - 1) % 4]["answer_ids"]}
        for n, row in enumerate(rows)
    ]  # fmt: skip
    other = trl_losses("KTO", model_dir, tokenizer, theirs, tmp_path, undesirable_weight=1.5)
    assert losses(mine) == pytest.approx(losses(other), abs=1e-5)
    for name in ("kl", "rewards/chosen", "rewards/rejected", "rewards/margins"):
        assert [e[name] for e in mine] == pytest.approx([e[name] for e in other], rel=1e-5, abs=1e-5), name


LEARNS = [("dpo", "--pref_loss", loss) for loss in ("sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo")]
LEARNS += [("dpo", "--pref_ftx", 0.5, "--pref_bco_weight", 0.5), ("orpo",), ("simpo",), ("kto",)]


@pytest.mark.parametrize("flags", LEARNS, ids=lambda flags: " ".join(map(str, flags)))
def test_every_loss_learns_to_prefer(train, flags):
    stage, *rest = flags
    entries = train(stage, "run", "--learning_rate", "1e-2", "--max_steps", 20, *rest)
    first, last = entries[0], entries[-1]
    assert last["loss"] < first["loss"]
    assert last["rewards/margins"] > first["rewards/margins"] + 0.015
    if stage != "kto":
        assert last["rewards/accuracies"] == 1.0


def test_hinge_ipo_and_kto_pair_are_not_sigmoid(train):
    """LLaMA-Factory 0.9.5 trains sigmoid under all four names."""
    short = ("--max_steps", 2, "--learning_rate", "1e-2")
    start = {
        name: train("dpo", name, *short, "--pref_loss", name)[0]["loss"]
        for name in ("sigmoid", "hinge", "ipo", "kto_pair")
    }
    # All ratios are zero at the start: log 2, 1, 1/(2β)² and 1/2.
    assert start == pytest.approx({"sigmoid": math.log(2), "hinge": 1.0, "ipo": 25.0, "kto_pair": 0.5}, abs=1e-5)


def weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


@pytest.mark.parametrize("method", ["full", "freeze"])
def test_only_the_trained_weights_move(train, model_dir, tmp_path, method):
    extra = ("--freeze_trainable_layers", 1) if method == "freeze" else ()
    train("dpo", "run", "--finetuning_type", method, "--max_steps", 2, "--learning_rate", "1e-3", *extra)
    before, after = weights(model_dir / "model.safetensors"), weights(tmp_path / "run" / "model.safetensors")
    assert set(before) == set(after), "tied embeddings are saved once"
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if method == "full" or ".layers.1." in name}


@pytest.mark.parametrize("bits", [4, 8])
def test_preferences_on_a_quantized_base(train, tmp_path, bits):
    pytest.importorskip("bitsandbytes")
    entries = train("dpo", "run", "--quantization_bit", bits, "--learning_rate", "1e-2", "--max_steps", 12)
    assert entries[0]["loss"] == pytest.approx(math.log(2), abs=2e-3)
    assert entries[-1]["rewards/margins"] > 0.1
    assert (tmp_path / "run" / "adapter_model.safetensors").is_file()


@torch.no_grad()
def logp(model, prompt: list[int], answer: list[int]) -> float:
    """log π(answer | prompt) of a plain model, one sequence at a time."""
    ids = torch.tensor([prompt + answer])
    found = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
    return float(found[len(prompt) - 1 :].sum())


def hand_loss(policy, reference, rows: list[dict], beta: float = 0.1) -> float:
    """DPO of plain models."""
    total = 0.0
    for row in rows:
        prompt, chosen, rejected = row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]
        ratio = [logp(policy, prompt, answer) - logp(reference, prompt, answer) for answer in (chosen, rejected)]
        total += math.log(1 + math.exp(-beta * (ratio[0] - ratio[1])))
    return total / len(rows)


def test_the_reference_is_what_the_run_starts_from_unless_one_is_named(train, host, model_dir, tokenizer, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    train("dpo", "first", "--learning_rate", "1e-2", "--max_steps", 6)
    adapter = tmp_path / "first"
    rows = pair_rows(host, tokenizer)[:4]
    base, other = (AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32) for _ in range(2))
    policy = PeftModel.from_pretrained(other, str(adapter))
    expected = hand_loss(policy, base, rows)
    assert expected < 0.68, "the adapter has learned something"
    more = ("--max_samples", 4, "--max_steps", 1, "--adapter_name_or_path", adapter)
    start = pytest.approx([math.log(2)], abs=1e-5)
    assert losses(train("dpo", "continued", *more)) == start
    assert losses(train("dpo", "new", *more, "--create_new_adapter")) == start
    assert losses(train("dpo", "pissa", *more[:4], "--pissa_init")) == start
    named = ("--ref_model", model_dir)
    assert losses(train("dpo", "base", *more, *named)) == pytest.approx([expected], abs=1e-5)
    assert losses(train("dpo", "named", *more, *named, "--ref_model_adapters", adapter)) == start


def test_losses_without_a_reference_start_where_plain_models_say(train, host, model_dir, tokenizer):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    means = [
        tuple(logp(model, row["prompt_ids"], row[name]) / len(row[name]) for name in ("chosen_ids", "rejected_ids"))
        for row in pair_rows(host, tokenizer)[:4]
    ]
    odds = [(math.exp(w) / (1 - math.exp(w))) / (math.exp(m) / (1 - math.exp(m))) for w, m in means]
    expected = {
        "orpo": sum(-w + 0.2 * math.log(1 + 1 / o) for (w, _), o in zip(means, odds, strict=True)) / 4,
        "simpo": sum(math.log(1 + math.exp(-(0.2 * (w - m) - 0.5))) for w, m in means) / 4,
        "dpo": sum(math.log(2) - 0.3 * w for w, _ in means) / 4,
    }
    one = ("--max_samples", 4, "--max_steps", 1, "--pref_beta", 0.2)
    for stage, value in expected.items():
        extra = ("--pref_ftx", 0.3) if stage == "dpo" else ()
        assert losses(train(stage, stage, *one, *extra)) == pytest.approx([value], abs=1e-5), stage


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_the_fast_path_gives_the_losses_of_the_plain_one(train, stage):
    common = (
        "--max_steps",
        4,
        "--gradient_accumulation_steps",
        2,
        "--learning_rate",
        "1e-2",
        "--per_device_train_batch_size",
        2,
    )
    fast, plain = train(stage, "fast", *common), train(stage, "plain", *common, "--plain_loss", "true")
    assert losses(fast) == pytest.approx(losses(plain), abs=1e-5)


RESUMED = [("dpo", "--finetuning_type", "full", "--pref_bco_weight", 0.5), ("dpo", "--lora_dropout", 0.1), ("kto",)]


@pytest.mark.parametrize("flags", RESUMED, ids=lambda flags: " ".join(map(str, flags)))
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_by_bit(train, tmp_path, monkeypatch, flags):
    stage, *rest = flags
    common = (*rest, "--max_steps", 8, "--save_steps", 4, "--learning_rate", "1e-2")
    whole = train(stage, "whole", *common)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoint-8")
    monkeypatch.setenv("PLUGTUNE_CACHE_DIR", str(tmp_path / "elsewhere"))  # the reference is computed again
    cut = train(stage, "cut", *common, "--resume_from_checkpoint", "true")
    assert losses(cut)[-4:] == losses(whole)[-4:]
    assert [e["rewards/margins"] for e in cut[-4:]] == [e["rewards/margins"] for e in whole[-4:]]
    name = "model.safetensors" if "full" in rest else "adapter_model.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_the_reference_is_asked_once_and_kept(train, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLUGTUNE_CACHE_DIR", str(tmp_path / "cache"))
    short = ("--max_steps", 2, "--learning_rate", "1e-2")
    told = "reference log-probabilities of 16 rows, once"
    first = train("dpo", "one", *short)
    assert capsys.readouterr().err.count(told) == 1
    second = train("dpo", "two", *short)
    assert told not in capsys.readouterr().err
    assert losses(second) == losses(first)
    train("dpo", "three", *short, "--ld_alpha", 0.5)
    assert capsys.readouterr().err.count(told) == 1, "other numbers are other entries of the cache"


def test_losses_without_a_reference_go_with_streaming(train):
    entries = train("simpo", "run", "--streaming", "--max_steps", 8, "--learning_rate", "1e-2")
    assert entries[-1]["rewards/margins"] > entries[0]["rewards/margins"]


def test_evaluation_has_the_metrics_too(train, tmp_path):
    train("dpo", "run", "--max_steps", 2, "--val_size", 6, "--do_eval", "--eval_strategy", "steps", "--eval_steps", 1,
          "--per_device_eval_batch_size", 4)  # fmt: skip
    results = json.loads((tmp_path / "run" / "all_results.json").read_text())
    assert {"eval_loss", "eval_rewards/accuracies", "eval_rewards/margins", "eval_logps/chosen"} <= set(results)
    assert "eval_perplexity" not in results
    lines = [json.loads(line) for line in (tmp_path / "run" / "trainer_log.jsonl").read_text().splitlines()]
    assert any("eval_rewards/margins" in line for line in lines)
