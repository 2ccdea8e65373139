"""A page becomes a run: what is shown is what runs, wrong pages are told before anything starts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from plugtune.errors import RequestError
from plugtune.options.groups import TRAIN_GROUPS
from plugtune.options.reader import Given, Request, read_request
from plugtune.options.resolve import trainer_specs
from plugtune.options.schema import specs_of
from plugtune.training.planner import make_plan


def _resolved(request: Request, host: Any) -> dict[str, Any]:
    plan = make_plan(request, host)
    parts = [plan.model, plan.data, plan.run, plan.generation, plan.stage_options, plan.method_options]
    return {"parts": [repr(part) for part in parts], "trainer": plan.trainer}


def test_the_command_that_is_shown_means_the_same_as_the_file_that_runs(
    composer: Any, form: dict[str, Any], host: Any
) -> None:
    form |= {
        "train.default_system": "be 'kind'; rm -rf $(HOME) `x` a=b", "train.lora_target": "q_proj,v_proj",
        "train.extra_args": '{"lr_scheduler_kwargs": {"num_cycles": 2}}', "train.add_tokens": "<a>, --b",
    }  # fmt: skip
    order = composer.train(form)
    words = shlex.split(order.shown().replace("\\\n", " "))
    assert words[:2] == ["plugtune", "train"]
    from_flags = _resolved(read_request(words[2:]), host)
    from_file = _resolved(Request({k: Given(v, k) for k, v in yaml.safe_load(order.yaml()).items()}), host)
    assert from_flags == from_file


def test_only_what_was_chosen_and_what_applies_is_passed(composer: Any, form: dict[str, Any]) -> None:
    form |= {"train.lora_rank": 16, "train.freeze_trainable_layers": 7}
    options = composer.train(form).options
    assert options["lora_rank"] == 16
    assert "freeze_trainable_layers" not in options, "an option of a method that is not used"
    options = composer.train(form | {"top.finetuning_type": "freeze"}).options
    assert options["freeze_trainable_layers"] == 7
    assert "lora_rank" not in options


def test_every_option_of_the_command_line_has_a_field_or_a_control(composer: Any, host: Any) -> None:
    from plugtune_app_board.fields import ELSEWHERE

    names = {item.name for item in composer.fields}
    wanted = {s.name for owner, g in TRAIN_GROUPS.items() if owner != "generation" for s in specs_of(g)}
    wanted |= {s.name for s in trainer_specs()}
    for kind in ("stage", "method", "optimizer"):
        wanted |= {s.name for item in host.catalog.all(kind) if item.options for s in specs_of(item.options)}
    assert wanted - names - ELSEWHERE == set()


def test_a_plugin_s_options_become_fields_by_themselves(host: Any, work: Path) -> None:
    from dataclasses import dataclass

    import plugtune
    from plugtune.plugins.host import PluginHost
    from plugtune.plugins.policy import Policy
    from plugtune_app_board.fields import train_fields

    @dataclass
    class Options:
        my_knob: float = plugtune.option(0.5, help="Turns.", minimum=0)

    class Plugin:
        @plugtune.hookimpl
        def plugtune_stages(self) -> list[plugtune.Stage]:
            return [plugtune.Stage(name="mine", rows="document", options=Options, encoder="a:b", trainer="a:b")]

    fields = train_fields(PluginHost(plugins=[("mine", Plugin())], policy=Policy()).load().catalog)
    field = next(item for item in fields if item.name == "my_knob")
    assert (field.id, field.panel, field.spec.help) == ("train.my_knob", "stage mine", "Turns.")
    assert field.applies("stage mine", "method lora")
    assert not field.applies("stage sft", "method lora")


def test_everything_that_is_wrong_is_told_at_once(composer: Any, form: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as told:
        composer.train(
            form
            | {"top.model_path": "", "train.learning_rate": "fast", "train.output_dir": "a/b", "train.extra_args": "{"}
        )
    text = str(told.value)
    for expected in ("no model", "'fast' is not a number", "'a/b' is not a plain name", "this is not JSON"):
        assert expected in text


def test_misspelt_further_options_and_missing_data_are_refused_before_a_start(
    composer: Any, form: dict[str, Any]
) -> None:
    with pytest.raises(RequestError, match="learning_rate"):
        composer.train(form | {"train.extra_args": '{"learning_rat": 1}'})
    with pytest.raises(RequestError, match="no data set"):
        composer.train(form | {"train.dataset": []})


def test_precision_quantization_and_validation_mean_what_they_say(composer: Any, form: dict[str, Any]) -> None:
    options = composer.train(
        form
        | {"train.compute_type": "fp32", "top.quantization_bit": "4", "train.val_size": "0.1", "train.save_steps": "7"}
    ).options
    assert (options["bf16"], options["fp16"], options["quantization_bit"]) == (False, False, 4)
    assert (options["eval_strategy"], options["eval_steps"], options["do_eval"]) == ("steps", 7, True)
    assert (
        "quantization_bit"
        not in composer.train(form | {"top.quantization_bit": "4", "top.finetuning_type": "full"}).options
    )


def test_several_devices_and_the_hub_are_chosen_through_the_environment_of_the_run(
    composer: Any, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("USE_MODELSCOPE_HUB", raising=False)
    env = composer.train(form | {"train.devices": ["3", "1"], "train.processes": 1, "top.hub_name": "modelscope"}).env
    assert env == {"CUDA_VISIBLE_DEVICES": "1,3", "NPROC_PER_NODE": "2", "USE_MODELSCOPE_HUB": "1"}
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert composer.train(form).env == {"USE_MODELSCOPE_HUB": "0"}


def test_settings_of_llama_factory_s_board_load_and_what_has_no_place_is_told(
    composer: Any, form: dict[str, Any]
) -> None:
    from plugtune_app_board import saved

    theirs = {
        "top.lang": "zh", "top.model_name": "Custom", "top.model_path": "models/tiny", "top.finetuning_type": "lora",
        "top.checkpoint_path": [], "top.quantization_bit": "none", "top.template": "default", "top.rope_scaling": "none",
        "top.booster": "auto", "train.training_stage": "Supervised Fine-Tuning", "train.dataset_dir": "data",
        "train.dataset": ["identity"], "train.learning_rate": "2e-4", "train.num_train_epochs": "2.0", "train.batch_size": 3,
        "train.compute_type": "fp32", "train.neftune_alpha": 0, "train.packing": False, "train.report_to": "none",
        "train.lora_rank": 4, "train.use_pissa": True, "train.loraplus_lr_ratio": 0, "train.extra_args": '{"optim": "adamw_torch"}',
        "train.use_galore": False, "train.galore_rank": 16, "train.galore_target": "all", "train.image_max_pixels": "768*768",
    }  # fmt: skip
    ids = (
        [item.id for item in composer.fields]
        + list(form)
        + [
            "top.checkpoint_path",
            "top.quantization_bit",
            "top.rope_scaling",
            "top.booster",
            "train.compute_type",
            "train.extra_args",
        ]
    )
    found, told = saved.adopt(theirs, ids)
    assert [line.partition(" (")[0] for line in told] == ["train.image_max_pixels = '768*768'"]
    options = composer.train({"train.output_dir": "x", **found}).options
    expected = {"stage": "sft", "learning_rate": 2e-4, "num_train_epochs": 2.0, "per_device_train_batch_size": 3, "lora_rank": 4,
                "pissa_init": True, "optim": "adamw_torch", "template": "default", "bf16": False, "packing": False}  # fmt: skip
    assert {key: options.get(key) for key in expected} == expected
    assert {"neftune_noise_alpha", "loraplus_lr_ratio", "report_to", "use_galore", "galore_rank"} & set(
        options
    ) == set()


def test_saved_settings_come_back_as_they_were(composer: Any, form: dict[str, Any], work: Path) -> None:
    from plugtune_app_board import saved

    folder, roots = work / "saves/.board/configs", composer.settings.roots
    saved.save(folder, roots, "mine.yaml", form)
    assert saved.names(folder) == ["mine.yaml"]
    assert saved.load(folder, roots, "mine.yaml") == form


def test_an_earlier_run_is_gone_on_with_or_begun_again_as_chosen(
    composer: Any, form: dict[str, Any], work: Path
) -> None:
    (work / "saves/Custom/lora/first/checkpoint-5").mkdir(parents=True)
    assert composer.train(form).options["resume_from_checkpoint"] == "true"
    options = composer.train(form | {"train.existing": "restart"}).options
    assert options["overwrite_output_dir"] is True
    assert "resume_from_checkpoint" not in options


def test_adapters_picked_from_the_list_are_folders_of_earlier_runs(
    composer: Any, form: dict[str, Any], work: Path
) -> None:
    folder = work / "saves/Custom/lora/older"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    assert composer.known.adapters("Custom", "lora") == ["older"]
    options = composer.train(form | {"top.checkpoint_path": ["older"]}).options
    assert options["adapter_name_or_path"] == ["saves/Custom/lora/older"]


def test_data_sets_follow_the_kind_of_rows_of_the_stage(composer: Any, work: Path) -> None:
    info = json.loads((work / "data/dataset_info.json").read_text())
    info["pairs"] = {"file_name": "identity.json", "ranking": True}
    (work / "data/dataset_info.json").write_text(json.dumps(info))
    supervised, plain, pairs = (composer.known.datasets("data", stage) for stage in ("sft", "pt", "dpo"))
    assert {"identity", "toolcalls"} <= set(supervised)
    assert not {"pairs", "documents"} & set(supervised)
    assert "documents" in plain
    assert "pairs" in pairs
    assert not {"identity", "documents"} & set(pairs)


@pytest.mark.parametrize("language", ["en", "ru", "zh"])
def test_every_word_is_there_in_every_language(language: str) -> None:
    from plugtune_app_board.labels import labels

    english, other = labels("en"), labels(language)
    for group in ("words", "fields", "options"):
        assert set(getattr(english, group)) == set(getattr(other, group))
        assert all(getattr(other, group).values())


@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_an_option_that_several_stages_take_is_passed_to_each(
    composer: Any, form: dict[str, Any], work: Path, stage: str
) -> None:
    data = {"train.training_stage": stage, "train.reward_model": "models/tiny", "train.reward_model_type": "full"}
    options = composer.train(form | data).options
    assert (options["reward_model"], options["reward_model_type"]) == ("models/tiny", "full")
    assert "reward_model" not in composer.train(form | {"train.reward_model": "models/tiny"}).options, "sft has none"


@pytest.mark.parametrize("exporter", ["gguf", "ollama"])
def test_an_option_that_several_exporters_take_is_passed_to_each(
    composer: Any, form: dict[str, Any], exporter: str
) -> None:
    form |= {"export.exporter": exporter, "export.export_dir": "out", "export.gguf_type": "q8_0"}
    assert composer.export(form, "1").options["gguf_type"] == "q8_0"


def test_options_of_an_optimizer_are_passed_when_it_is_switched_on(composer: Any, form: dict[str, Any]) -> None:
    form |= {"top.finetuning_type": "full", "train.galore_rank": 4}
    assert not {"use_galore", "galore_rank"} & set(composer.train(form).options)
    options = composer.train(form | {"train.use_galore": True}).options
    assert (options["use_galore"], options["galore_rank"]) == (True, 4)
