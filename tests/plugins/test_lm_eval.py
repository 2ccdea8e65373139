"""Tasks of a file of one's own through the harness, against log-likelihoods of plain PyTorch; nothing is fetched."""

from __future__ import annotations

import json

import pytest
import torch

QUESTIONS = [
    {
        "question": f"Which of these is {word}?",
        "choices": ["a fox", "the dog, lazily", "it jumps", "over"],
        "answer": n % 4,
    }
    for n, word in enumerate(("quick", "brown", "lazy", "old", "new", "here", "there", "gone"))
]
TASK = """
task: animals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}} Answer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    file = tmp_path / "animals.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    (folder / "animals.yaml").write_text(TASK.format(file=file), encoding="utf-8")
    return folder


def likelihoods(model, tokenizer, prompt, choices):
    """Summed log-probabilities of each choice behind the prompt, one by one, without padding."""
    found = []
    for choice in choices:
        start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        whole = tokenizer(f"{prompt} {choice}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logs = model(torch.tensor([whole])).logits[0].float().log_softmax(-1)
        found.append(sum(float(logs[p - 1, whole[p]]) for p in range(len(start), len(whole))))
    return found


def best(values):
    return max(range(len(values)), key=values.__getitem__)


@pytest.mark.e2e
def test_a_local_task_scores_as_plain_log_likelihoods_do(plugtune, lively_dir, tokenizer, tasks, tmp_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(lively_dir, dtype=torch.float32).eval()
    right, longest = 0, 0
    for row in QUESTIONS:
        logs = likelihoods(model, tokenizer, f"{row['question']} Answer:", row["choices"])
        right += best(logs) == row["answer"]
        longest += best([x / len(c) for x, c in zip(logs, row["choices"], strict=True)]) == row["answer"]
    done = plugtune(
        "lm-eval", "--model_name_or_path", lively_dir, "--tasks", "animals", "--include_path", tasks, "--json",
        "--save_dir", tmp_path / "report", env={"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    found = report["tasks"]["animals"]
    assert found["rows"] == len(QUESTIONS)
    assert found["scores"] == {"acc": pytest.approx(right / 8), "acc_norm": pytest.approx(longest / 8)}
    assert json.loads((tmp_path / "report/results.json").read_text()) == report
    assert len(json.loads((tmp_path / "report/answers.json").read_text())["animals"]) == len(QUESTIONS)


def test_questions_are_asked_in_the_template_that_was_chosen(lively_dir, tokenizer, host):
    from plugtune.inference.engine import open_model
    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import ModelOptions
    from plugtune_eval_lm_eval.harness import _keep_template, wrap

    pytest.importorskip("lm_eval")
    engine = open_model(ModelOptions(model_name_or_path=str(lively_dir)), TemplateChoice(template="qwen"), host)
    _keep_template(engine)
    asked = wrap(engine, 1).apply_chat_template([{"role": "user", "content": "Which?"}])
    assert asked.endswith("<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\n")


def refused(*flags):
    from plugtune.errors import RequestError
    from plugtune.options.reader import read_request
    from plugtune_eval_lm_eval.command import run

    with pytest.raises(RequestError) as caught:
        run(read_request(["--model_name_or_path", "nowhere", *map(str, flags)]))
    return str(caught.value)


@pytest.mark.e2e
def test_wrong_requests_are_told_before_a_weight_is_read(tasks, tmp_path):
    assert "did you mean 'animals'" in refused("--tasks", "animels", "--include_path", tasks)
    assert "there is no folder" in refused("--tasks", "animals", "--include_path", tmp_path / "none")
    assert "no tasks" in refused("--include_path", tasks)


def test_code_beside_a_task_file_runs_only_when_that_is_allowed(tasks, tmp_path):
    code = tmp_path / "pwned"
    (tasks / "utils.py").write_text(f"open({str(code)!r}, 'w')\n\n\ndef look(doc):\n    return doc\n")
    evil = TASK.format(file="x").replace("animals", "evil") + "process_docs: !function utils.look\n"
    (tasks / "evil.yaml").write_text(evil)
    assert "runs Python code of its own" in refused("--tasks", "evil", "--include_path", tasks)
    assert not code.exists()
