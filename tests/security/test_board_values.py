"""What a page may not ask for. Each is a hole that another board of this kind has had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plugtune.errors import PlugtuneError, RequestError


@pytest.fixture
def outside(work: Path) -> dict[str, str]:
    """Ways out of the working folder, by name."""
    sibling = work.with_name(work.name + "-evil")
    sibling.mkdir()
    (sibling / "secret.json").write_text("[]")
    (work / "link").symlink_to(sibling)
    (work / "saves").mkdir(exist_ok=True)
    (work / "saves" / "link").symlink_to(sibling)
    return {
        "parent": "../work-evil", "prefix sibling": str(sibling), "link": "link", "link below": "saves/link",
        "absolute": "/etc", "home": "~/x", "through a folder": "data/../../work-evil",
    }  # fmt: skip


FIELDS = (
    "top.model_path", "top.template", "train.dataset_dir", "train.tokenized_path", "train.logging_dir",
    "train.cache_dir", "train.dataset_info",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_leads_out_of_the_folders(
    composer: Any, form: dict[str, Any], outside: dict[str, str], field: str
) -> None:
    for path in outside.values():
        with pytest.raises(RequestError, match="outside the folders"):
            composer.train(form | {field: path})


def test_lists_and_further_options_do_not_lead_out_either(
    composer: Any, form: dict[str, Any], outside: dict[str, str]
) -> None:
    for path in outside.values():
        for changed in (
            {"top.checkpoint_path": [path]}, {"train.dataset": [f"{path}/secret.json"]}, {"train.dataset": [path]},
            {"train.extra_args": json.dumps({"output_dir": path})}, {"train.extra_args": json.dumps({"cache_path": path})},
            {"train.extra_args": json.dumps({"resume_from_checkpoint": path})}, {"train.extra_args": json.dumps({"fsdp_config": path})},
            {"train.extra_args": json.dumps({"deepspeed": {"nvme_path": path}})}, {"train.extra_args": json.dumps({"adapter-name-or-path": f"models/tiny,{path}"})},
            {"train.extra_args": json.dumps({"checkpoint_dir": path})}, {"train.dataset_dir": path},
        ):  # fmt: skip
            with pytest.raises(PlugtuneError, match="outside the folders"):
                composer.train(form | changed)


@pytest.mark.parametrize("name", ["../up", "a/b", "/tmp/x", "..", ".hidden", "a\\b", "a\0b", "x\ny", "", "link/.."])
def test_names_of_runs_and_settings_stay_names(composer: Any, form: dict[str, Any], work: Path, name: str) -> None:
    from plugtune_app_board import saved

    with pytest.raises(RequestError):
        composer.train(form | {"train.output_dir": name})
    with pytest.raises(RequestError):
        saved.save(work / "saves/.board/configs", composer.settings.roots, name, {})


def test_a_run_does_not_follow_a_link_out_of_its_folder(
    composer: Any, form: dict[str, Any], work: Path, outside: dict[str, str]
) -> None:
    (work / "saves/Custom/lora").mkdir(parents=True)
    (work / "saves/Custom/lora/first").symlink_to(outside["prefix sibling"])
    with pytest.raises(RequestError, match="outside the folders"):
        composer.train(form)


@pytest.mark.parametrize("model", ["../../x", "..", "/etc/passwd", "a\0b", "../../../../tmp/evil"])
def test_the_name_of_a_model_makes_no_path(composer: Any, form: dict[str, Any], work: Path, model: str) -> None:
    folder = composer.known.save_folder(model, "../..")
    assert folder.resolve().is_relative_to(work / "saves")
    assert len(folder.relative_to(work / "saves").parts) <= 2


def test_settings_are_not_read_from_outside(composer: Any, work: Path, outside: dict[str, str]) -> None:
    from plugtune_app_board import saved

    configs = work / "saves/.board/configs"
    configs.mkdir(parents=True)
    (configs / "bad.yaml").symlink_to("/etc/hostname")
    for name in ("bad.yaml", "/etc/hostname", "../../../../etc/hostname", f"{outside['prefix sibling']}/secret.json"):
        with pytest.raises(RequestError, match="outside the folders"):
            saved.load(configs, composer.settings.roots, name)


def test_settings_are_data_and_construct_nothing(composer: Any, work: Path) -> None:
    from plugtune_app_board import saved

    configs = work / "saves/.board/configs"
    configs.mkdir(parents=True)
    (configs / "evil.yaml").write_text("a: !!python/object/apply:os.system ['touch pwned']\n")
    with pytest.raises(RequestError, match="cannot be read"):
        saved.load(configs, composer.settings.roots, "evil.yaml")
    assert not (work / "pwned").exists()


def test_an_entry_of_a_registry_does_not_lead_out(
    composer: Any, form: dict[str, Any], work: Path, outside: dict[str, str]
) -> None:
    from plugtune_app_board.look import Preview

    info = json.loads((work / "data/dataset_info.json").read_text())
    (work / "data/linked.json").symlink_to(Path(outside["prefix sibling"]) / "secret.json")
    info |= {
        "a": {"file_name": "../../work-evil/secret.json"},
        "b": {"file_name": "/etc/passwd"},
        "c": {"file_name": "linked.json"},
    }
    (work / "data/dataset_info.json").write_text(json.dumps(info))
    for name in "abc":
        with pytest.raises(PlugtuneError):
            composer.train(form | {"train.dataset": [name]})
        with pytest.raises(PlugtuneError):
            Preview(composer).page(name, "data", 1)


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/latest", "https://x.org/m", "file:///etc/passwd", "s3://b/k", "hf://a/b"]
)
def test_nothing_is_fetched_from_an_address(composer: Any, form: dict[str, Any], address: str) -> None:
    for changed in ({"top.model_path": address}, {"train.dataset": [address]}, {"top.checkpoint_path": [address]},
                    {"train.extra_args": json.dumps({"reward_model": address})}):  # fmt: skip
        with pytest.raises(RequestError):
            composer.train(form | changed)


@pytest.mark.parametrize(
    "extra",
    [
        {"trust_remote_code": True},
        {"trust-remote-code": "yes"},
        {"allow_dataset_scripts": 1},
        {"hf_hub_token": "x"},
        {"hub_token": "x"},
        {"push_to_hub_token": "x"},
    ],
)
def test_further_options_switch_nothing_on_that_the_operator_left_off(
    composer: Any, form: dict[str, Any], extra: dict[str, Any]
) -> None:
    with pytest.raises(RequestError, match=r"off on this board|is a secret"):
        composer.train(form | {"train.extra_args": json.dumps(extra)})
    with pytest.raises(RequestError, match=r"off on this board|is a secret"):
        composer.export(form | {"export.export_dir": "out", "export.extra_args": json.dumps(extra)}, "1")


@pytest.mark.parametrize(
    ("stage", "changed"),
    [
        ("ppo", {"train.reward_model": "os:system"}),
        ("ppo", {"train.extra_args": '{"reward-model": "subprocess:getoutput"}'}),
        ("grpo", {"train.reward_funcs": "os:system, runpy:run_path"}),
        ("grpo", {"train.extra_args": '{"reward_funcs": ["importlib.util:find_spec"]}'}),
    ],
)
def test_no_option_names_code_that_runs(
    composer: Any, form: dict[str, Any], stage: str, changed: dict[str, Any]
) -> None:
    """Reward functions are `module:function`: on the command line the user's own code, from a page anybody's."""
    with pytest.raises(RequestError, match="names code"):
        composer.train(form | {"train.training_stage": stage} | changed)


def test_nothing_is_written_among_the_records_of_what_runs_next(
    composer: Any, form: dict[str, Any], work: Path
) -> None:
    (work / "saves/.board/jobs").mkdir(parents=True)
    for folder in ("saves/.board/jobs", "saves/.board/jobs/new", "data/../saves/.board"):
        with pytest.raises(RequestError, match="the board's own folder"):
            composer.export(form | {"export.export_dir": folder}, "1")
        with pytest.raises(RequestError, match="the board's own folder"):
            composer.train(form | {"train.extra_args": json.dumps({"tokenized_path": folder})})


def test_the_chat_checks_what_it_loads(composer: Any, form: dict[str, Any], outside: dict[str, str]) -> None:
    from plugtune_app_board.talk import Talk

    talk = Talk(composer)
    for changed in ({"top.model_path": outside["prefix sibling"]}, {"infer.extra_args": '{"trust_remote_code": true}'},
                    {"infer.extra_args": '{"adapter_name_or_path": "/etc"}'}, {"top.trust_remote_code": True}):  # fmt: skip
        with pytest.raises(RequestError):
            talk.load(form | changed)
    assert not talk.loaded


def test_the_operator_may_allow_code_at_start_only(
    host: Any, work: Path, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from plugtune_app_board.compose import Composer
    from plugtune_app_board.settings import read_settings

    monkeypatch.chdir(work)
    allowed = Composer(host, read_settings(allow_code=True, environ={}))
    assert (
        allowed.train(form | {"train.extra_args": '{"trust_remote_code": true}'}).options["trust_remote_code"] is True
    )


def test_form_values_are_never_words_of_a_command(composer: Any, form: dict[str, Any]) -> None:
    evil = "$(touch pwned); `touch pwned` && touch pwned | touch pwned\n--output_dir=/"
    form |= {"train.default_system": evil, "train.run_name": evil}
    order = composer.train(form)
    assert order.command() == [sys.executable, "-m", "plugtune", "train", str(order.file)]
    assert not any(evil in value for value in order.env.values())
    with pytest.raises(RequestError):
        composer.train(form | {"train.devices": ["0; touch pwned"]})
    shown = order.shown()
    # A shell that is given the shown command must see the values as they are, and run nothing else.
    script = f"plugtune() {{ printf '%s\\0' \"$@\"; }}\n{shown}\n"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=composer.settings.work)
    assert f"--default_system={evil}" in done.stdout.split("\0")
    assert not os.path.exists(composer.settings.work / "pwned")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>"])
def test_rows_and_errors_are_shown_as_text(composer: Any, form: dict[str, Any], work: Path, text: str) -> None:
    from plugtune_app_board.look import Preview, explain

    (work / "data/evil.json").write_text(json.dumps([{"instruction": text, "output": text}]))
    preview = Preview(composer)
    page = preview.page("data/evil.json", "data", 1)
    seen = preview.seen("data/evil.json", page, form | {"train.dataset": ["data/evil.json"]})
    assert "<script" not in seen
    assert "<img" not in seen
    assert "&lt;" in seen
    assert "<" + text[1:5] not in explain(RequestError(text)).removeprefix("<ul")
