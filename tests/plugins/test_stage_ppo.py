"""PPO learns toy rewards, moves only what it should, and goes on in the middle of a buffer as if never killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from plugtune.errors import RequestError, RunError
from plugtune.modeling.value_head import ValueHead, save_head
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def prompts_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    rows = [{"instruction": f"Question {n}?" + " really" * (n % 4), "input": "", "output": "-"} for n in range(24)]
    (folder / "prompts.json").write_text(json.dumps(rows))
    (folder / "dataset_info.json").write_text(json.dumps({"prompts": {"file_name": "prompts.json"}}))
    return folder


@pytest.fixture
def common(prompts_dir: Path, model_dir: Path) -> dict[str, object]:
    return {
        "stage": "ppo", "dataset": "prompts", "dataset_dir": prompts_dir, "model_name_or_path": model_dir,
        "per_device_train_batch_size": 8, "per_device_eval_batch_size": 32, "learning_rate": 1e-2, "max_new_tokens": 8,
        "top_p": 1.0, "top_k": 0, "temperature": 1.0, "reward_model_type": "function",
        "reward_model": "toy_rewards:share", "lr_scheduler_type": "constant",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _toy_rewards_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.e2e
def test_the_mean_reward_rises_clearly_above_the_untrained_policy(train_here, log_of, common, tmp_path):
    output = train_here(
        tmp_path / "run", **common, finetuning_type="full", ppo_buffer_size=2, max_steps=160, plot_loss=True,
        ppo_init_kl_coef=0.02, report_to="tensorboard", logging_dir=tmp_path / "board",
    )  # fmt: skip
    rewards = log_of(output, "reward")
    assert sum(rewards[-3:]) / 3 > 0.6 > 0.35 > rewards[0]
    assert (output / "training_loss.png").stat().st_size > 10_000
    entry = json.loads((output / "trainer_log.jsonl").read_text().splitlines()[0])
    assert {"reward", "reward_std", "kl", "kl_coef", "policy_loss", "value_loss", "clip_fraction", "approx_kl", "entropy",
            "response_length", "lr"} <= set(entry)  # fmt: skip
    assert entry["kl"] == pytest.approx(0, abs=1e-4), "before the first step the policy is its reference"
    assert entry["approx_kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.e2e
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_resumed_in_the_middle_of_a_buffer_repeats_the_uninterrupted_one(
    train_here, log_of, common, tmp_path, method
):
    """Buffers have 2 x 4 steps and the checkpoint comes after 6."""
    options = {
        **common, "finetuning_type": method, "ppo_buffer_size": 2, "max_steps": 12, "save_steps": 6,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "ppo_score_norm": True, "ppo_target": 0.1,
        "ppo_kl_horizon": 20, "ppo_whiten_rewards": True,
    }  # fmt: skip
    whole = train_here(tmp_path / "whole", **options)
    cut = shutil.copytree(whole, tmp_path / "cut")
    shutil.rmtree(cut / "checkpoint-12")
    train_here(cut, **options, resume_from_checkpoint="true")
    for name in ("loss", "policy_loss", "value_loss", "entropy"):
        assert log_of(cut, name)[-6:] == log_of(whole, name)[-6:], name
    for name in ("reward", "kl", "kl_coef", "response_length"):
        assert log_of(cut, name)[-1] == log_of(whole, name)[-1], name
    weights = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    for name in (weights, "value_head.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


CELLS = {
    "full": ({}, lambda name: True),
    "freeze": ({"freeze_trainable_layers": 1}, lambda name: "layers.1." in name),
    "lora": ({}, None),
    "qlora8": ({"quantization_bit": 8}, None),
    "qlora4": ({"quantization_bit": 4}, None),
}


@pytest.mark.e2e
@pytest.mark.parametrize("cell", CELLS)
def test_each_method_moves_its_weights_and_the_head(train_here, log_of, common, model_dir, tmp_path, cell):
    extra, should_move = CELLS[cell]
    output = train_here(
        tmp_path / "run",
        **common,
        finetuning_type=cell if should_move else "lora",
        ppo_buffer_size=2,
        max_steps=8,
        **extra,
    )
    assert len(log_of(output, "loss")) == 8
    assert load_file(output / "value_head.safetensors").keys() == {"v_head.summary.weight", "v_head.summary.bias"}
    if should_move is None:
        assert all("lora_" in name for name in load_file(output / "adapter_model.safetensors"))
        assert any(t.any() for n, t in load_file(output / "adapter_model.safetensors").items() if "lora_B" in n)
        return
    old, new = load_file(model_dir / "model.safetensors"), load_file(output / "model.safetensors")
    assert {n for n in old if not torch.equal(old[n], new[n])} == {n for n in old if should_move(n)}


def reward_adapter(train_here, model_dir: Path, folder: Path) -> Path:
    """A reward adapter over the tiny model, with a head that was trained a little."""
    (folder / "data").mkdir(parents=True)
    pairs = [{"instruction": f"Q {n}", "input": "", "chosen": "yes yes", "rejected": "no"} for n in range(8)]
    (folder / "data" / "pairs.json").write_text(json.dumps(pairs))
    info = {"pairs": {"file_name": "pairs.json", "ranking": True}}
    (folder / "data" / "dataset_info.json").write_text(json.dumps(info))
    return train_here(
        folder / "rm", stage="rm", model_name_or_path=model_dir, dataset="pairs", dataset_dir=folder / "data", max_steps=4,
        learning_rate=1e-2,
    )  # fmt: skip


@pytest.mark.e2e
def test_a_reward_adapter_scores_as_the_reward_model_itself_does(train_here, log_of, model_dir, common, tmp_path):
    """The first buffer of two runs from the same seed: adapter over the policy's base, and merged model of its own."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = reward_adapter(train_here, model_dir, tmp_path / "reward")
    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(model_dir).save_pretrained(tmp_path / "merged")
    shutil.copy(adapter / "value_head.safetensors", tmp_path / "merged")
    options = {**common, "max_steps": 1, "finetuning_type": "lora"}
    one = train_here(tmp_path / "one", **{**options, "reward_model": adapter, "reward_model_type": "lora"})
    two = train_here(tmp_path / "two", **{**options, "reward_model": tmp_path / "merged", "reward_model_type": "full"})
    three = train_here(
        tmp_path / "three",
        **{**options, "reward_model": model_dir, "reward_model_type": "full", "reward_model_adapters": adapter},
    )
    for other in (two, three):
        assert log_of(one, "reward") == pytest.approx(log_of(other, "reward"), abs=1e-4)
        assert log_of(one, "reward_std") == pytest.approx(log_of(other, "reward_std"), abs=1e-4)
    assert not (one / "reward").exists(), "only the policy's adapter is saved"


@pytest.mark.e2e
def test_a_policy_that_goes_on_from_an_adapter_is_held_to_it(train_here, log_of, model_dir, common, tmp_path):
    """At first its KL is zero: the reference is the adapter as it was given, not the base under it."""
    adapter = reward_adapter(train_here, model_dir, tmp_path / "start")
    output = train_here(tmp_path / "run", **common, adapter_name_or_path=adapter, max_steps=8)
    kl = log_of(output, "kl")
    assert kl[0] == pytest.approx(0, abs=1e-4)
    assert abs(kl[1]) > 1e-3
    report = json.loads((output / "run.json").read_text())
    assert {"what": "reference", "value": "the model that the run starts from", "why": "kept as a frozen copy of the adapter, which goes on from earlier training"} in report["choices"]  # fmt: skip
    assert not (output / "reference").exists()


WRONG = [
    ({"reward_model": "none"}, "needs a reward model"),
    (
        {"reward_model_type": "lora", "reward_model": "x", "finetuning_type": "full"},
        "needs a method that trains an adapter",
    ),
    ({"reward_model_type": "api", "reward_model": "file:///etc/passwd"}, "is no address"),
    ({"reward_model_type": "function", "reward_model": "nothing"}, "is no function"),
    ({"reward_model": "missing_module:score"}, "cannot be imported"),
    ({"reward_model_type": "lora", "reward_model": "nowhere"}, "holds no reward model"),
    ({"do_sample": "false"}, "must be sampled"),
    ({"load_best_model_at_end": "true"}, "no meaning"),
    ({"report_to": "mlflow"}, "report_to"),
    ({"packing": "true"}, "packing"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told for _, told in WRONG])
def test_wrong_requests_are_told(train_here, common, tmp_path, change, told):
    with pytest.raises(RequestError, match=told):
        train_here(tmp_path / "run", **{**common, **change})


@pytest.mark.parametrize(
    ("name", "told"),
    [("broken", "ValueError: no idea"), ("too_few", "1 scores for 8"), ("not_a_number", "nan"), ("nothing", "None")],
)
def test_a_reward_function_that_fails_is_named(train_here, common, tmp_path, name, told):
    with pytest.raises(RunError, match=told):
        train_here(tmp_path / "run", **{**common, "reward_model": f"toy_rewards:{name}", "max_steps": 1})


def test_a_score_that_is_no_number_names_the_prompt_and_the_answer(train_here, common, tmp_path):
    """All 24 prompts are in the first buffer or two; the bad one is row 4 of the file."""
    asked = {**common, "reward_model": "toy_rewards:one_infinite", "ppo_buffer_size": 3}
    with pytest.raises(RunError, match="gave a score of inf") as caught:
        train_here(tmp_path / "run", **asked)
    problem = caught.value.problems[0]
    assert problem.where == "prompt row 4 of 24"
    assert "Question 3?" in problem.fix
    assert "answer " in problem.fix


def test_a_reward_model_that_gives_no_number_is_told(train_here, common, model_dir, tmp_path):
    import torch

    adapter = reward_adapter(train_here, model_dir, tmp_path / "reward")
    from safetensors.torch import save_file

    weights = load_file(adapter / "value_head.safetensors")
    save_file(
        {name: torch.full_like(value, torch.nan) for name, value in weights.items()}, adapter / "value_head.safetensors"
    )
    with pytest.raises(RunError, match="the reward model gave a score of nan"):
        train_here(tmp_path / "run", **{**common, "reward_model": adapter, "reward_model_type": "lora", "max_steps": 1})


@pytest.mark.e2e
def test_ppo_starts_from_pissa(train_here, log_of, common, tmp_path):
    """PiSSA moves the principal part of the base into the adapter: policy and reference are the same at first."""
    output = train_here(
        tmp_path / "run", **{**common, "max_steps": 4, "ppo_epochs": 1}, pissa_init="true", pissa_iter=-1
    )
    kl = log_of(output, "kl")
    assert kl[0] == pytest.approx(0, abs=1e-3)
    assert abs(kl[-1]) > 0


def test_a_reward_model_with_another_vocabulary_is_refused(train_here, common, model_dir, tmp_path):
    other = shutil.copytree(model_dir, tmp_path / "other")
    tokens = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokens["model"]["vocab"]
    a, b = list(vocabulary)[300:302]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (other / "tokenizer.json").write_text(json.dumps(tokens))
    save_head(ValueHead(32), other)
    with pytest.raises(RequestError, match="another vocabulary"):
        train_here(tmp_path / "run", **{**common, "reward_model": other, "reward_model_type": "full"})


@pytest.mark.e2e
def test_a_merged_reward_model_keeps_its_head_and_a_plain_state_dict(host, train_here, model_dir, tmp_path):
    from plugtune.inference.export import run_export
    from plugtune.options.reader import read_request

    adapter = reward_adapter(train_here, model_dir, tmp_path / "reward")
    for base, adapters, target in ((model_dir, [adapter], "merged"), (tmp_path / "merged", [], "again")):
        arguments = [f"model_name_or_path={base}", f"export_dir={tmp_path / target}"]
        run_export(read_request([*arguments, *(f"adapter_name_or_path={a}" for a in adapters)]), host)
        assert (tmp_path / target / "value_head.safetensors").read_bytes() == (
            adapter / "value_head.safetensors"
        ).read_bytes()
        weights = load_file(tmp_path / target / "model.safetensors")
        assert weights.keys() == load_file(model_dir / "model.safetensors").keys()
