"""Evaluation against plain PyTorch: perplexity, letters, scores; the published forms of the files."""

from __future__ import annotations

import json
import math

import pytest
import torch
from plugtune.errors import DataError, RequestError
from plugtune.inference.choice import read, read_task
from plugtune.inference.evaluate import run_eval
from plugtune.inference.text_scores import missing_libraries
from plugtune.options.reader import read_request
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTIONS = [
    ("What is 1+1?", "1", "2", "3", "4", "B"), ("Capital of France, \"la\" city?", "Rome", "Bonn", "Paris", "Oslo", "C"),
    ("Which is red?", "sky", "grass", "snow", "blood", "D"), ("First letter?", "A", "B", "C", "D", "A"),
]  # fmt: skip


def write(path, rows, header=None):
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)


@pytest.fixture
def tasks(tmp_path):
    root = tmp_path / "evaluation"
    write(root / "mmlu" / "data" / "test" / "abstract_algebra_test.csv", QUESTIONS)
    write(root / "mmlu" / "data" / "dev" / "abstract_algebra_dev.csv", QUESTIONS[:2])
    write(root / "mmlu" / "data" / "test" / "anatomy_test.csv", QUESTIONS[2:])
    (root / "mmlu" / "mapping.json").write_text(
        json.dumps(
            {
                "anatomy": {"name": "anatomy", "category": "Other"},
                "abstract_algebra": {"name": "abstract algebra", "category": "STEM"},
            }
        )
    )
    header = ["id", "question", "A", "B", "C", "D", "answer", "explanation"]
    write(root / "ceval" / "val" / "law_val.csv", [[n, *q, ""] for n, q in enumerate(QUESTIONS)], header)
    write(
        root / "cmmlu" / "test" / "law.csv",
        [[n, *q] for n, q in enumerate(QUESTIONS)],
        ["", "Question", "A", "B", "C", "D", "Answer"],
    )
    return root


def test_the_published_forms_are_read(tasks):
    algebra, anatomy = read_task("mmlu_test", str(tasks))
    assert (algebra.name, algebra.group, len(algebra.questions), len(algebra.examples)) == (
        "abstract algebra",
        "STEM",
        4,
        2,
    )
    assert anatomy.examples == ()
    wanted = algebra.questions
    assert read_task("ceval_validation", str(tasks))[0].questions == wanted
    assert read_task("cmmlu_test", str(tasks))[0].questions == wanted
    with pytest.raises(RequestError, match="no files of task"):
        read_task("mmul_test", str(tasks))
    (tasks / "bad.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"bad\.csv, row 1"):
        read(tasks / "bad.csv")


@pytest.mark.parametrize("shots", [0, 2])
def test_letters_are_those_of_a_plain_forward_pass(host, lively_dir, tasks, tmp_path, shots):
    flags = f"--model_name_or_path {lively_dir} --task mmlu_test --task_dir {tasks} --n_shot {shots} --batch_size 3 --save_dir {tmp_path / 'out'}"
    report = run_eval(read_request(flags.split()), host)
    model = AutoModelForCausalLM.from_pretrained(lively_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(lively_dir)
    letters = [tokenizer.encode(x, add_special_tokens=False)[-1] for x in "ABCD"]
    wanted = {}
    for number, question in enumerate(QUESTIONS):
        messages = []
        for example in [*QUESTIONS[:shots], question]:
            lead = (
                "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
                if not messages
                else ""
            )
            text = (
                lead
                + example[0]
                + "".join(f"\n{x}. {c}" for x, c in zip("ABCD", example[1:5], strict=True))
                + "\nAnswer:"
            )
            messages += [{"role": "user", "content": text}, {"role": "assistant", "content": example[5]}]
        ids = tokenizer.apply_chat_template(
            messages[:-1], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with torch.no_grad():
            wanted[str(number)] = "ABCD"[int(model(ids).logits[0, -1, letters].argmax())]
    answers = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert answers["abstract_algebra"] == wanted
    right = sum(wanted[str(n)] == q[5] for n, q in enumerate(QUESTIONS))
    assert report["subjects"][0]["correct"] == right
    assert report["accuracy"]["STEM"] == 25 * right
    with pytest.raises(RequestError, match="not empty"):
        run_eval(read_request(flags.split()), host)


@pytest.fixture
def rows(tmp_path):
    rows = [
        {"instruction": f"Question {n} " + "word " * n, "input": "", "output": f"Answer {n} " + "yes " * (n % 3)}
        for n in range(7)
    ]
    (tmp_path / "mini.json").write_text(json.dumps(rows))
    return rows, tmp_path / "mini.json"


def test_perplexity_is_that_of_all_answer_tokens_together(host, lively_dir, rows):
    data, file = rows
    flags = f"--model_name_or_path {lively_dir} --eval_dataset {file} --batch_size 3"
    report = run_eval(read_request(flags.split()), host)
    model = AutoModelForCausalLM.from_pretrained(lively_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(lively_dir)
    total, count = 0.0, 0
    for row in data:
        start = [{"role": "user", "content": row["instruction"]}]
        prompt = tokenizer.apply_chat_template(start, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*start, {"role": "assistant", "content": row["output"]}], tokenize=False)
        n = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        answer = tokenizer(whole, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logs = model(torch.tensor([answer])).logits[0].log_softmax(-1)
        total -= sum(float(logs[i - 1, answer[i]]) for i in range(n, len(answer)))
        count += len(answer) - n
    assert report["tokens"] == count
    assert report["loss"] == pytest.approx(total / count, abs=1e-4)
    assert report["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-3)


def test_generated_answers_are_scored(host, lively_dir, rows, tmp_path):
    if missing_libraries():
        pytest.skip("plugtune[metrics] is not installed")
    flags = f"--model_name_or_path {lively_dir} --eval_dataset {rows[1]} --predict_with_generate --do_sample false --max_new_tokens 5 --save_dir {tmp_path / 'o'}"
    report = run_eval(read_request(flags.split()), host)
    assert {"bleu-4", "rouge-1", "rouge-2", "rouge-l", "exact_match"} <= set(report)
    listed = json.loads((tmp_path / "o" / "answers.json").read_text())
    assert [item["label"] for item in listed] == [row["output"].strip() for row in rows[0]]


def test_scores_are_those_of_the_libraries_and_chinese_is_cut_into_words():
    if missing_libraries():
        pytest.skip("plugtune[metrics] is not installed")
    from plugtune.inference.text_scores import score_text, score_texts

    assert score_text("我爱北京天安门", "我爱北京天安门") == pytest.approx(
        {"bleu-4": 100, "rouge-1": 100, "rouge-2": 100, "rouge-l": 100}, abs=1e-3
    )
    assert score_text("我喜欢苹果", "我喜欢香蕉")["rouge-1"] == pytest.approx(200 / 3, abs=1e-3)
    assert score_texts(["", "a"], ["b", "a"])["rouge-1"] == pytest.approx(50, abs=1e-3)


def test_a_wrong_request_is_told(host, lively_dir):
    with pytest.raises(RequestError, match="needs a task or a data set"):
        run_eval(read_request(["--model_name_or_path", str(lively_dir)]), host)
