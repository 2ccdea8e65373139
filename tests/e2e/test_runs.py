"""Whole runs through the program, in processes of their own, on a tiny real architecture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {"instruction": f"Question {n} " + "word " * (n % 7), "input": "", "output": f"Answer {n} " + "yes " * (n % 5)}
        for n in range(40)
    ]
    (folder / "mini.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "texts.txt").write_text(
        "\n".join(f"Document {n} says hello to everybody." for n in range(60)), encoding="utf-8"
    )
    (folder / "dataset_info.json").write_text(
        json.dumps({"mini": {"file_name": "mini.json"}, "alpaca_gpt4_zh": {"file_name": "mini.json"},
                    "texts": {"file_name": "texts.txt", "formatting": "text"}})
    )  # fmt: skip
    return folder


def train(plugtune, model_dir, data_dir, output, *extra: object):
    done = plugtune(
        "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "mini", "--dataset_dir", data_dir,
        "--output_dir", output, "--per_device_train_batch_size", 4, "--learning_rate", "1e-2", "--logging_steps", 1,
        "--bf16", "false", *extra,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def losses(output: Path) -> list[float]:
    lines = (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


def test_train_merge_chat(plugtune, model_dir, data_dir, tmp_path):
    done = train(
        plugtune,
        model_dir,
        data_dir,
        tmp_path / "run",
        *"--plot_loss --max_steps 8 --report_to tensorboard --val_size 4 --do_eval".split(),
        "--logging_dir",
        tmp_path / "tb",
    )
    output = tmp_path / "run"
    assert len(done.stderr.splitlines()) < 60, "a good run prints a page"
    assert losses(output)[-1] < losses(output)[0]
    left = {p.name for p in output.iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "run.json",
        "all_results.json",
        "training_loss.png",
        "trainer_log.jsonl",
    } <= left
    assert list((tmp_path / "tb").glob("events.out.tfevents*"))
    report = json.loads((output / "run.json").read_text(encoding="utf-8"))
    assert report["template"]["name"] == "auto"
    assert {p["name"] for p in report["plugins"]} >= {"stage-sft", "method-lora"}
    assert all(p["hash"] for p in report["plugins"])
    assert report["data"]["sets"][0]["read"] == 40
    assert report["metrics"]["eval_loss"] > 0
    entry = json.loads((output / "trainer_log.jsonl").read_text().splitlines()[2])
    assert {
        "current_steps",
        "total_steps",
        "loss",
        "lr",
        "epoch",
        "percentage",
        "elapsed_time",
        "remaining_time",
        "throughput",
    } <= set(entry)

    merged = tmp_path / "merged"
    exported = plugtune(
        "export", "--model_name_or_path", model_dir, "--adapter_name_or_path", output, "--export_dir", merged, "--json"
    )
    assert json.loads(exported.stdout)["files"] == ["model.safetensors"], exported.stderr
    same = ["--do_sample", "false", "--max_new_tokens", 12, "--prompt", "Question 3", "--json"]
    with_adapter = plugtune("chat", "--model_name_or_path", model_dir, "--adapter_name_or_path", output, *same)
    alone = plugtune("chat", "--model_name_or_path", merged, *same)
    assert json.loads(alone.stdout) == json.loads(with_adapter.stdout), alone.stderr
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Question 3"}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    answer = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).generate(
        ids, do_sample=False, max_new_tokens=12
    )
    assert (
        tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True) == json.loads(alone.stdout)[0]["answer"]
    )


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_fast_path_gives_the_losses_of_the_plain_one(plugtune, model_dir, data_dir, tmp_path, method):
    common = ("--finetuning_type", method, "--max_steps", 6, "--gradient_accumulation_steps", 2)
    train(plugtune, model_dir, data_dir, tmp_path / "fast", *common)
    train(plugtune, model_dir, data_dir, tmp_path / "plain", *common, "--plain_loss", "true")
    assert losses(tmp_path / "fast") == pytest.approx(losses(tmp_path / "plain"), abs=1e-5)


def test_a_resumed_run_repeats_the_uninterrupted_one_bit_by_bit(plugtune, model_dir, data_dir, tmp_path):
    common = ("--max_steps", 8, "--save_steps", 4, "--lora_dropout", "0.1")
    train(plugtune, model_dir, data_dir, tmp_path / "whole", *common)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoint-8")
    train(plugtune, model_dir, data_dir, tmp_path / "cut", *common, "--resume_from_checkpoint", "true")
    assert losses(tmp_path / "cut")[-4:] == losses(tmp_path / "whole")[-4:]
    one, two = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert one == two


@pytest.mark.parametrize("method", ["full", "freeze", "lora"])
def test_pretraining_with_every_method(plugtune, model_dir, data_dir, tmp_path, method):
    extra = ("--freeze_trainable_layers", 1) if method == "freeze" else ()
    train(
        plugtune,
        model_dir,
        data_dir,
        tmp_path / "run",
        "--stage",
        "pt",
        "--dataset",
        "texts",
        "--cutoff_len",
        64,
        "--finetuning_type",
        method,
        "--num_train_epochs",
        2,
        *extra,
    )
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]


def test_the_tutorials_script_runs_as_printed(plugtune, model_dir, data_dir, tmp_path):
    done = plugtune(
        "train", "--report_to", "tensorboard", "--logging_dir", "single_lora_qwen_log", "--stage", "sft", "--do_train", "True",
        "--model_name_or_path", model_dir, "--dataset", "alpaca_gpt4_zh", "--dataset_dir", data_dir, "--template", "qwen",
        "--lora_target", "q_proj", "--output_dir", "single_lora_qwen_checkpoint", "--overwrite_cache",
        "--per_device_train_batch_size", 4, "--gradient_accumulation_steps", 8, "--lr_scheduler_type", "cosine",
        "--logging_steps", 5, "--save_steps", 100, "--learning_rate", "5e-5", "--num_train_epochs", "1.0",
        "--finetuning_type", "lora", "--fp16", "--lora_rank", 8, "--quantization_bit", 4, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "single_lora_qwen_checkpoint" / "adapter_model.safetensors").is_file()
    assert list((tmp_path / "single_lora_qwen_log").glob("events*"))
    assert "fp16 needs a GPU" in done.stderr


def test_a_dry_run_says_everything_and_loads_no_weights(plugtune, model_dir, data_dir, tmp_path):
    done = plugtune(
        "train",
        "--do_train",
        "--model_name_or_path",
        model_dir,
        "--dataset",
        "mini",
        "--dataset_dir",
        data_dir,
        "--output_dir",
        tmp_path / "x",
        "--dry-run",
    )
    answer = json.loads(done.stdout)
    assert answer["stage"] == "sft"
    assert answer["data"]["sets"][0]["kept"] == 40
    assert not (tmp_path / "x").exists()


WRONG = [
    ("--templat qwen", "did you mean 'template'"),
    ("--template qwn", "unknown template 'qwn'"),
    ("--stage stf", "unknown stage 'stf'"),
    ("--dataset minni", "did you mean 'mini'"),
    ("--model_name_or_path /no/such/model", "does not exist"),
    ("--lora_target q_prj", "did you mean 'q_proj'"),
    ("--adapter_name_or_path nowhere", "holds no adapter"),
    ("--resume_from_checkpoint nowhere", "does not exist"),
    ("--cutoff_len 1", "below the least value"),
    ("--quantization_bit 3", "not one of 4, 8"),
    ("--learning_rate fast", "not a number"),
]


@pytest.mark.parametrize(("flags", "message"), WRONG)
def test_a_wrong_request_gets_one_clear_message(plugtune, model_dir, data_dir, tmp_path, flags, message):
    (tmp_path / "out").mkdir()
    done = plugtune(
        "train",
        "--do_train",
        "--model_name_or_path",
        model_dir,
        "--dataset",
        "mini",
        "--dataset_dir",
        data_dir,
        "--output_dir",
        tmp_path / "out",
        *flags.split(),
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_folder_with_other_content_is_not_touched(plugtune, model_dir, data_dir, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    done = plugtune(
        "train",
        "--do_train",
        "--model_name_or_path",
        model_dir,
        "--dataset",
        "mini",
        "--dataset_dir",
        data_dir,
        "--output_dir",
        tmp_path,
    )
    assert done.returncode == 2
    assert "holds other files" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_broken_data_is_told_before_any_library_is_loaded(plugtune, model_dir, data_dir, tmp_path):
    (tmp_path / "bad.json").write_text('[{"instruction": "a", "output": "b"}, {"instruction": "a"}]')
    done = plugtune(
        "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", tmp_path / "bad.json",
        "--output_dir", tmp_path / "out", env={"PYTHONPROFILEIMPORTTIME": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "row 2" in done.stderr
    assert "field 'output'" in done.stderr
    assert "| torch" not in done.stderr
    assert "|   torch" not in done.stderr


def test_predictions_are_written_beside_their_references(plugtune, model_dir, data_dir, tmp_path):
    train(
        plugtune,
        model_dir,
        data_dir,
        tmp_path / "run",
        "--max_steps",
        2,
        "--val_size",
        3,
        "--do_predict",
        "--predict_with_generate",
        "--max_new_tokens",
        5,
    )
    lines = (tmp_path / "run" / "generated_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert all(json.loads(line)["label"].startswith("Answer") for line in lines)


def test_training_stops_early_when_evaluation_does_not_improve(plugtune, model_dir, data_dir, tmp_path):
    train(
        plugtune,
        model_dir,
        data_dir,
        tmp_path / "run",
        "--max_steps",
        30,
        "--val_size",
        4,
        "--eval_strategy",
        "steps",
        "--eval_steps",
        1,
        "--early_stopping_steps",
        2,
        "--learning_rate",
        "0",
    )
    assert 2 <= len(losses(tmp_path / "run")) < 30


def test_two_sets_are_interleaved_with_their_probabilities(plugtune, model_dir, data_dir, tmp_path):
    done = plugtune(
        "train",
        "--do_train",
        "--model_name_or_path",
        model_dir,
        "--dataset",
        "mini,alpaca_gpt4_zh",
        "--dataset_dir",
        data_dir,
        "--output_dir",
        tmp_path / "x",
        "--mix_strategy",
        "interleave_under",
        "--interleave_probs",
        "0.5,0.5",
        "--dry-run",
    )
    assert done.returncode == 0, done.stderr
    assert [entry["read"] for entry in json.loads(done.stdout)["data"]["sets"]] == [40, 40]


VARIANTS = {
    "pissa": "--pissa_init true",
    "lora plus": "--loraplus_lr_ratio 16",
    "dora and rslora": "--use_dora true --use_rslora true",
    "new tokens": "--add_special_tokens <|mood|>,<|city|> --additional_target embed_tokens",
    "rope scaling": "--rope_scaling yarn",
    "streaming": "--streaming true",
    "packing": "--packing true --cutoff_len 256",
    "a token budget": "--packing true --cutoff_len 256 --packing_length 600 --per_device_train_batch_size 1",
    "a packed stream": "--streaming true --packing true --cutoff_len 256",
    "old names": "--sft_packing true --flash_attn sdpa",
}


@pytest.mark.parametrize("flags", VARIANTS.values(), ids=VARIANTS)
def test_a_variant_trains_and_lowers_the_loss(plugtune, model_dir, data_dir, tmp_path, flags):
    train(plugtune, model_dir, data_dir, tmp_path / "run", "--max_steps", 6, *flags.split())
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]


def test_adapters_are_continued_and_stacked(plugtune, model_dir, data_dir, tmp_path):
    train(plugtune, model_dir, data_dir, tmp_path / "one", "--max_steps", 4)
    common = ("--max_steps", 2, "--adapter_name_or_path", tmp_path / "one")
    train(plugtune, model_dir, data_dir, tmp_path / "continued", *common)
    assert losses(tmp_path / "continued")[0] < losses(tmp_path / "one")[0] - 0.1
    train(plugtune, model_dir, data_dir, tmp_path / "two", *common, "--create_new_adapter", "true")
    both = f"{tmp_path / 'one'},{tmp_path / 'two'}"
    done = plugtune(
        "export", "--model_name_or_path", model_dir, "--adapter_name_or_path", both, "--export_dir", tmp_path / "m"
    )
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_of_another_run_is_refused(plugtune, model_dir, data_dir, tmp_path):
    train(plugtune, model_dir, data_dir, tmp_path / "run", "--max_steps", 2, "--save_steps", 2)
    done = plugtune(
        "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "mini", "--dataset_dir", data_dir,
        "--output_dir", tmp_path / "run", "--finetuning_type", "full", "--resume_from_checkpoint", "true",
    )  # fmt: skip
    assert done.returncode == 2
    assert "method lora there, full here" in done.stderr
