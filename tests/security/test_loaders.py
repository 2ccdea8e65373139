"""What a folder that someone else made may not do to whoever loads it: run its code, open its pickles, build its objects."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from plugtune.errors import PlugtuneError, RequestError


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there when foreign code has run."""
    return tmp_path / "pwned"


@pytest.fixture
def coded(model_dir: Path, tmp_path: Path, marker: Path) -> Path:
    """A checkpoint that brings model, config and tokenizer code of its own."""
    folder = tmp_path / "coded"
    shutil.copytree(model_dir, folder)
    for name in ("modeling_evil", "configuration_evil", "tokenization_evil"):
        text = f"open({str(marker)!r}, 'w').close()\nclass Evil:\n    pass\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    for file, classes in (
        ("config.json", {"AutoConfig": "configuration_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.Evil"]}),
    ):
        values = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps(values | {"auto_map": classes}), encoding="utf-8")
    return folder


def test_code_in_a_checkpoint_does_not_run_unless_it_is_asked_for(coded: Path, host: Any, marker: Path) -> None:
    """LLaMA-Factory's board sets trust_remote_code for everyone."""
    from plugtune.inference.engine import open_model
    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import ModelOptions

    with contextlib.suppress(PlugtuneError):  # refused, or loaded by the library's own class: both are well
        open_model(ModelOptions(model_name_or_path=str(coded)), TemplateChoice(), host)
    assert not marker.exists()
    with contextlib.suppress(Exception):
        open_model(ModelOptions(model_name_or_path=str(coded), trust_remote_code=True), TemplateChoice(), host)
    assert marker.exists(), "else this proves nothing"


def test_a_pickled_value_head_runs_nothing(model_dir: Path, tmp_path: Path, marker: Path) -> None:
    """CVE-2025-53002: the reward model's value head was loaded with all that pickles can do."""
    from plugtune.modeling.value_head import load_head

    folder = tmp_path / "reward"
    shutil.copytree(model_dir, folder)
    (folder / "value_head.bin").write_bytes(pickle.dumps({"v_head.summary.weight": Bomb(marker)}))
    with pytest.raises((PlugtuneError, pickle.UnpicklingError)):
        load_head(folder, 32, where="reward_model")
    assert not marker.exists()


@pytest.mark.e2e
def test_a_checkpoint_that_was_tampered_with_runs_nothing_on_a_resume(plugtune: Any, work: Path, marker: Path) -> None:
    """Optimizer, schedule, random states and arguments are pickles by torch's custom; none is opened as one."""
    flags = ["train", "--stage", "sft", "--do_train", "--model_name_or_path", "models/tiny", "--dataset", "identity",
             "--finetuning_type", "lora", "--output_dir", "out", "--save_steps", "2", "--logging_steps", "1",
             "--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1"]  # fmt: skip
    done = plugtune(*flags, "--max_steps", "2", cwd=work)
    assert done.returncode == 0, done.stderr
    checkpoint = next((work / "out").glob("checkpoint-*"))
    planted = [*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth"), *checkpoint.glob("*.bin")]
    assert planted, "torch's files of a checkpoint"
    for file in planted:
        file.write_bytes(pickle.dumps(Bomb(marker)))
    for manifest in (False, True):
        if manifest:  # an attacker who knows of the manifest leaves it out
            from plugtune.training.checkpoint import MANIFEST

            (checkpoint / MANIFEST).unlink(missing_ok=True)
        done = plugtune(*flags, "--max_steps", "4", "--resume_from_checkpoint", checkpoint, cwd=work)
        assert done.returncode in (1, 2), done.stderr
        assert "Traceback" not in done.stderr
        assert not marker.exists()


EVIL = "!!python/object/apply:os.system ['touch {marker}']\n"


def test_configs_and_templates_are_data_and_construct_nothing(tmp_path: Path, marker: Path) -> None:
    """ms-swift's CVE-2025-50460: a YAML file that is read builds any object."""
    from plugtune.options.reader import read_request
    from plugtune.templating.load import load_templates

    text = EVIL.format(marker=marker)
    (tmp_path / "run.yaml").write_text(f"model_name_or_path: {text}")
    with pytest.raises(RequestError):
        read_request([str(tmp_path / "run.yaml")])
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "evil.yaml").write_text(f"name: {text}")
    with pytest.raises(PlugtuneError):
        load_templates(folder)
    assert not marker.exists()


def test_a_chat_template_of_a_checkpoint_reaches_no_python(
    model_dir: Path, tmp_path: Path, marker: Path, host: Any
) -> None:
    """Jinja outside a sandbox runs what it likes (CVE-2024-34359 of llama-cpp-python)."""
    from plugtune.data.records import Conversation, Message, RowError
    from plugtune.inference.engine import open_model
    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import ModelOptions

    folder = tmp_path / "templated"
    shutil.copytree(model_dir, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    attack = "{{ ''.__class__.__mro__[1].__subclasses__()[0].__init__.__globals__ }}{{ cycler.__init__.__globals__.os.system('touch %s') }}"
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["chat_template"] = attack % marker
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with contextlib.suppress(PlugtuneError, RowError):  # whatever it comes to
        engine = open_model(ModelOptions(model_name_or_path=str(folder)), TemplateChoice(), host)
        engine.template.encode_prompt(Conversation((Message("user", "x"),)))
    assert not marker.exists()
