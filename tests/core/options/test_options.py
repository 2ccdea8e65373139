"""What a user types is read, mapped and checked; everything wrong is told at once."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from plugtune.errors import RequestError
from plugtune.options.groups import TRAIN_GROUPS
from plugtune.options.make_trainer_fields import fields
from plugtune.options.reader import read_request
from plugtune.options.resolve import resolve
from plugtune.training.planner import make_plan

TUTORIAL = """--report_to "tensorboard" --logging_dir single_lora_qwen_log --stage sft --do_train True
 --model_name_or_path some/folder --dataset alpaca_gpt4_zh --template qwen --lora_target q_proj
 --output_dir single_lora_qwen_checkpoint --overwrite_cache --per_device_train_batch_size 4
 --gradient_accumulation_steps 8 --lr_scheduler_type cosine --logging_steps 5 --save_steps 100 --learning_rate 5e-5
 --num_train_epochs 1.0 --finetuning_type lora --fp16 --lora_rank 8 --quantization_bit 4"""


def test_the_tutorials_flags_mean_what_they_say(host):
    plan = make_plan(read_request(shlex.split(TUTORIAL)), host)
    assert (plan.stage.name, plan.method.name) == ("sft", "lora")
    assert plan.run.do_train is True
    assert plan.run.logging_dir == "single_lora_qwen_log"
    assert plan.data.overwrite_cache is True
    assert plan.data.dataset == ["alpaca_gpt4_zh"]
    assert plan.method_options.lora_target == ["q_proj"]
    assert plan.model.quantization_bit == 4
    assert plan.trainer["learning_rate"] == 5e-5
    assert plan.trainer["gradient_accumulation_steps"] == 8
    assert plan.trainer["fp16"] is True


def test_all_mistakes_come_in_one_message_with_near_names():
    request = read_request("--learning_rat 1 --stge sft --cutoff_len two --long_rows ct".split())
    with pytest.raises(RequestError) as caught:
        resolve(request, TRAIN_GROUPS, trainer=True)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for part in ("learning_rat", "'learning_rate'", "'stage'", "'two' is not a whole number", "did you mean 'cut'"):
        assert part in text


@pytest.mark.parametrize(
    ("old", "name", "value"),
    [
        ("--evaluation_strategy steps", "eval_strategy", "steps"),
        ("--warmup_ratio 0.1", "warmup_steps", 0.1),
        ("--no_cuda true", "use_cpu", True),
        ("--group_by_length true", "train_sampling_strategy", "group_by_length"),
        ("--fsdp_min_num_params 7", "fsdp_config", {"min_num_params": 7}),
    ],
)
def test_removed_trainer_fields_become_what_they_meant(old, name, value):
    resolved = resolve(read_request([*old.split()[:1], *old.split()[1:]]), TRAIN_GROUPS, trainer=True)
    found = resolved.trainer[name]
    assert found == value or found == {"min_num_params": "7"}


def test_old_and_new_name_with_different_values_are_a_contradiction():
    with pytest.raises(RequestError, match="mean the same"):
        resolve(read_request("--evaluation_strategy steps --eval_strategy epoch".split()), TRAIN_GROUPS, trainer=True)


def test_later_sources_win_and_every_value_knows_its_place(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("cutoff_len: 10\nlearning_rate: 1e-4\nval_size: 0.1\n", encoding="utf-8")
    request = read_request([str(file), "cutoff_len=30", "--cutoff_len", "20", "--val_size", "0.2"])
    resolved = resolve(request, TRAIN_GROUPS, trainer=True)
    assert resolved.groups["data"].cutoff_len == 30
    assert resolved.groups["data"].val_size == 0.2
    assert resolved.trainer["learning_rate"] == 1e-4
    assert resolved.given["learning_rate"][1].endswith("run.yaml line 2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "line 2"),
        ("a: 1\na: 2\n", "stands twice, first in line 1"),
        ("- 1\n", "name: value"),
        ("", "is empty"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, message: str):
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        read_request([str(file)])


def test_an_option_of_another_method_has_no_effect_and_says_so(host):
    args = "--do_train --model_name_or_path m --dataset d --output_dir o --finetuning_type full --lora_rank 4".split()
    plan = make_plan(read_request(args), host)
    assert any("lora_rank" in note and "method lora" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("--val_size 0.1 --eval_dataset e", "exclude each other"),
        ("--streaming", "needs max_steps"),
        ("--do_predict --val_size 1", "needs predict_with_generate"),
        ("--bf16 --fp16", "exclude each other"),
        ("--finetuning_type full --quantization_bit 4", "does not train on a 4-bit base"),
        ("--stage pt --mask_history", "no meaning in pre-training"),
        ("--packing_length 4096", "no meaning without packing"),
        ("--packing --packing_length 1024 --cutoff_len 2048", "packing_length 1024 is shorter than cutoff_len 2048"),
        ("--stage pt --packing --packing_length 4096", "packing_length has no meaning in stage pt"),
    ],
)
def test_combinations_that_cannot_work_are_refused(host, extra: str, message: str):
    args = f"--do_train --model_name_or_path m --dataset d --output_dir o {extra}".split()
    with pytest.raises(RequestError, match=message):
        make_plan(read_request(args), host)


def test_nothing_to_do_is_an_error(host):
    with pytest.raises(RequestError, match="nothing to do"):
        make_plan(read_request("--model_name_or_path m --dataset d --output_dir o".split()), host)


def test_the_table_of_trainer_fields_is_that_of_the_installed_transformers():
    import plugtune.options as package

    table = json.loads((Path(package.__file__).parent / "trainer_fields.json").read_text(encoding="utf-8"))
    assert {row["name"]: row["type"] for row in table} == {row["name"]: row["type"] for row in fields()}


def test_a_zero_3_file_that_would_leave_no_whole_weights_is_refused(host, tmp_path, monkeypatch):
    monkeypatch.setattr("plugtune.options.checks.installed", lambda name: True)
    asked = "--do_train --model_name_or_path m --dataset d --output_dir o --deepspeed"
    bare = '{"zero_optimization": {"stage": 3}}'
    (tmp_path / "z3.json").write_text(bare)
    for given in (bare, str(tmp_path / "z3.json")):
        with pytest.raises(RequestError, match="stage3_gather_16bit_weights_on_model_save"):
            make_plan(read_request([*asked.split(), given]), host)


def test_a_run_with_deepspeed_is_refused_where_it_is_not_installed(host, tmp_path, monkeypatch):
    monkeypatch.setattr("plugtune.options.checks.installed", lambda name: False)
    (tmp_path / "z2.json").write_text('{"zero_optimization": {"stage": 2}}')
    asked = f"--do_train --model_name_or_path m --dataset d --output_dir o --deepspeed {tmp_path / 'z2.json'}"
    with pytest.raises(RequestError, match="DeepSpeed is not installed"):
        make_plan(read_request(asked.split()), host)


def test_an_output_folder_that_holds_only_a_failed_start_is_free(host, tmp_path):
    from plugtune.training.outputs import check_output

    (tmp_path / "plugins.json").write_text("{}")
    asked = f"--do_train --model_name_or_path m --dataset d --output_dir {tmp_path}"
    assert check_output(make_plan(read_request(asked.split()), host)) is None
