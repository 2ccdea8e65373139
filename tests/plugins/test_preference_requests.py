"""Requests for preference stages that make no sense are refused with the reason before anything is loaded."""

from __future__ import annotations

import json

import pytest
from plugtune.errors import RequestError
from plugtune.options.reader import read_request
from plugtune.training.run import run_training


@pytest.fixture
def train(host, model_dir, tmp_path):
    rows = {"pairs": [{"instruction": "a", "chosen": "b", "rejected": "c"}],
            "judged": [{"instruction": "a", "output": "b", "good": True}]}  # fmt: skip
    for name, content in rows.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    info = {
        "pairs": {"file_name": "pairs.json", "ranking": True},
        "judged": {
            "file_name": "judged.json",
            "columns": {"prompt": "instruction", "response": "output", "kto_tag": "good"},
        },
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))

    def run(stage: str, *flags: str) -> None:
        args = ["--stage", stage, "--do_train", "--model_name_or_path", model_dir, "--dataset_dir", tmp_path,
                "--output_dir", tmp_path / "run", "--dataset", "judged" if stage == "kto" else "pairs", *flags]  # fmt: skip
        run_training(read_request([str(arg) for arg in args]), host)

    return run


WRONG = [
    ("dpo", "--pref_loss orpo --ref_model {model}", "no reference model"),
    ("dpo", "--pref_loss ipo --dpo_label_smoothing 0.1", "dpo_label_smoothing does not go with"),
    ("dpo", "--pref_loss simpo --ld_alpha 0.5", "ld_alpha has no meaning"),
    ("dpo", "--pref_loss sigmod", "sigmoid"),
    ("dpo", "--pref_beta 0", "pref_beta is 0"),
    ("dpo", "--streaming --max_steps 3", "streaming does not go with the reference"),
    ("dpo", "--ref_model_adapters nowhere", "ref_model_adapters needs ref_model"),
    ("dpo", "--ref_model /no/such/model", "no folder"),
    ("dpo", "--neat_packing", "neat_packing has no meaning in stage dpo"),
    ("dpo", "--long_rows split", "long_rows split has no meaning"),
    ("dpo", "--dataset judged", "holds no preferences"),
    ("kto", "--dataset pairs", "holds preferences"),
    ("kto", "--pref_beta 0", "pref_beta is 0"),
    ("orpo", "--train_on_prompt", "train_on_prompt has no meaning in stage orpo"),
]


@pytest.mark.parametrize(("stage", "flags", "message"), WRONG)
def test_what_does_not_go_together_is_told_before_anything_is_loaded(
    train, model_dir, monkeypatch, stage, flags, message
):
    monkeypatch.setattr("plugtune.modeling.load.load_model", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises(RequestError, match=message):
        train(stage, *flags.format(model=model_dir).split())
