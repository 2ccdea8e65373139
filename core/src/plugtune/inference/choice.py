"""Multiple choice as MMLU, C-Eval and CMMLU are published: a CSV file per subject, answered by the likeliest letter.

The prompt is a conversation: some solved questions of the subject, then the question; the answer is the letter whose
token is the likeliest next one (Hendrycks et al. 2020, arXiv:2009.03300; the wording is LLaMA-Factory's).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.data.records import Conversation, Message
from plugtune.errors import DataError, RequestError, did_you_mean

LETTERS = ("A", "B", "C", "D")
SPLITS = {"test": ("test",), "validation": ("val", "validation"), "dev": ("dev", "train")}
"""Split as tasks name it → its folder's names."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How questions are put in a language."""

    system: str
    answer: str


WORDINGS = {
    "en": Wording("The following are multiple choice questions (with answers) about {subject}.\n\n", "\nAnswer:"),
    "zh": Wording("以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。\n\n", "\n答案："),
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its four choices, and the letter of the right one."""

    text: str
    choices: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject: its name for people, its group, questions, and solved examples."""

    key: str
    name: str
    group: str
    questions: tuple[Question, ...]
    examples: tuple[Question, ...]


def read_task(task: str, task_dir: str) -> list[Subject]:
    """Subjects of a task such as `mmlu_test`, `cmmlu_test` or `ceval_validation`.

    The files are looked for in `TASK_DIR/NAME`, `TASK_DIR/NAME/data` and `TASK_DIR` itself, each split in a folder.

    Raises:
        RequestError: there are no such files.
        DataError: a file has another form; names file and line.
    """
    name, _, split = task.rpartition("_")
    if not name or split not in SPLITS:
        raise RequestError(f"task {task!r} is not NAME_SPLIT", where="task",
                           fix=f"write mmlu_test or ceval_validation; splits: {', '.join(SPLITS)}")  # fmt: skip
    root = Path(task_dir)
    homes = [root / name, root / name / "data", root / "data", root]
    home = next((h for h in homes if any((h / part).is_dir() for part in SPLITS[split])), None)
    if home is None:
        there = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        raise RequestError(
            f"no files of task {task}", where="task_dir", why=f"{root} holds no {name}/{SPLITS[split][0]}",
            fix=did_you_mean(name, there) or "unpack the published CSV files there, each split in a folder of its own",
        )  # fmt: skip
    folder = next(home / part for part in SPLITS[split] if (home / part).is_dir())
    solved = next((home / part for part in SPLITS["dev"] if (home / part).is_dir()), None)
    names = _names(home)
    subjects = []
    for path in sorted(folder.glob("*.csv")):
        key = path.stem.removesuffix(f"_{folder.name}")
        examples = _examples(solved, key) if solved is not None else ()
        label = names.get(key, {})
        subjects.append(
            Subject(key, label.get("name", key.replace("_", " ")), label.get("category", "Other"), read(path), examples)
        )
    if not subjects:
        raise RequestError(f"{folder} holds no CSV files", where="task_dir")
    return subjects


def _names(home: Path) -> dict[str, dict[str, str]]:
    """`mapping.json`, LLaMA-Factory's own: subject → name and category."""
    for path in (home / "mapping.json", home.parent / "mapping.json"):
        if path.is_file():
            found: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
            return found
    return {}


def _examples(folder: Path, key: str) -> tuple[Question, ...]:
    for path in (folder / f"{key}_{folder.name}.csv", folder / f"{key}.csv"):
        if path.is_file():
            return read(path)
    return ()


def read(path: Path) -> tuple[Question, ...]:
    """Questions of a file, with a header (C-Eval, CMMLU) or without (MMLU).

    Raises:
        DataError: a line has another form.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    columns = [0, 1, 2, 3, 4, 5]
    if "question" in header and "answer" in header:
        columns = [header.index(name) for name in ("question", "a", "b", "c", "d", "answer")]
        rows = rows[1:]
    found = []
    for number, row in enumerate(rows, 1):
        if len(row) <= max(columns) or row[columns[5]].strip() not in LETTERS:
            raise DataError(
                "this line is no question with four choices and an answer", where=f"{path}, row {number}",
                fix="expected question,A,B,C,D,answer; C-Eval's test files have no answers, its validation files do",
            )  # fmt: skip
        text, *choices, answer = (row[column].strip() for column in columns)
        found.append(Question(text, tuple(choices), answer))
    return tuple(found)


def conversation(subject: Subject, question: Question, shots: int, lang: str) -> Conversation:
    """The question behind some solved ones."""
    words = WORDINGS[lang]
    messages: list[Message] = []
    for number, item in enumerate((*subject.examples[:shots], question)):
        start = words.system.format(subject=subject.name) if number == 0 else ""
        choices = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, item.choices, strict=True))
        messages.append(Message("user", start + item.text + choices + words.answer))
        if item is not question:
            messages.append(Message("assistant", item.answer))
    return Conversation(tuple(messages))


def answer_all(engine: Any, subjects: Sequence[Subject], *, shots: int, lang: str, batch: int) -> Iterator[list[str]]:
    """The model's letters for each subject in turn. Examples are left out, last first, where the context is short."""
    ids = [engine.tokenizer.encode(letter, add_special_tokens=False)[-1] for letter in LETTERS]
    context = engine.context()
    for subject in subjects:
        prompts = []
        for question in subject.questions:
            for fewer in range(min(shots, len(subject.examples)), -1, -1):
                prompt = engine.template.encode_prompt(conversation(subject, question, fewer, lang))
                if not context or len(prompt) <= context:
                    break
            prompts.append(prompt)
        answers: list[str] = []
        for start in range(0, len(prompts), batch):
            logits = next_logits(engine, prompts[start : start + batch])
            answers += [LETTERS[place] for place in logits[:, ids].argmax(-1).tolist()]
        yield answers


def next_logits(engine: Any, prompts: Sequence[Sequence[int]]) -> Any:
    """Logits of the next token after each prompt, `(prompts, vocabulary)`."""
    from plugtune.inference.batch import Row
    from plugtune.inference.lane import Lane, abilities
    from plugtune.inference.sampling import Sampling

    able = abilities(engine.model)
    pad = engine.tokenizer.pad_token_id or 0
    engine.model.eval()
    if able.joins:
        return Lane(engine.model, able, pad, [Row(list(p), Sampling()) for p in prompts]).begin()
    import torch

    return torch.cat([Lane(engine.model, able, pad, [Row(list(p), Sampling())]).begin() for p in prompts])
