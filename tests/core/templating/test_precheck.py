"""A template that cannot belong to a tokenizer is told before any library is imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from plugtune.errors import RequestError
from plugtune.modeling.locate import Located
from plugtune.options.groups import ModelOptions
from plugtune.templating.model import ChatTemplate, Special, Token
from plugtune.templating.precheck import check_template

PROGRAM = """
import sys
from plugtune.cli.main import run
status = run(sys.argv[1:])
assert not {"torch", "transformers", "tokenizers"} & set(sys.modules), "a heavy library was imported"
sys.exit(status)
"""


@pytest.fixture
def plain(model_dir, tmp_path):
    """The model with a tokenizer that has no chat template."""
    folder = tmp_path / "plain"
    shutil.copytree(model_dir, folder)
    for file in folder.glob("chat_template*"):
        file.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("template", "words"), [("llama3", "needs the token '<|"), ("auto", "no chat template of its own")]
)
def test_a_run_is_refused_without_any_library(plain, tmp_path, template, words):
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "a", "output": "b"}]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "train", "--stage", "sft", "--do_train", "--model_name_or_path", plain, "--template",
         template, "--dataset", tmp_path / "rows.json", "--output_dir", tmp_path / "out"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_what_a_tokenizer_has_or_is_given_passes(model_dir, plain, tmp_path):
    def check(template, folder, **options):
        check_template(
            template, Located(folder, None, {}, None), ModelOptions(model_name_or_path=str(folder), **options)
        )

    check(None, model_dir)
    known = ChatTemplate(
        name="x", user=(Token("<|im_start|>"), "{{content}}"), assistant=("{{content}}", Special("eos"))
    )
    check(known, plain)
    strange = ChatTemplate(name="x", user=(Token("<|é|>"), "{{content}}"))
    with pytest.raises(RequestError, match="needs the token"):
        check(strange, plain)
    check(strange, plain, add_special_tokens=["<|é|>"])
    (tmp_path / "slow").mkdir()
    check(strange, tmp_path / "slow")  # no tokenizer.json: judged when it is loaded
