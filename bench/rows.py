"""Rows that the benchmarks train on and prepare: invented words with the frequencies of a language, from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

SEED = 0
ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}
PAIRS = {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}
JUDGED = {"prompt": "instruction", "query": "input", "response": "output", "kto_tag": "label"}

Text = Callable[[int, int, bool], str]


def _texts(rnd: random.Random) -> Text:
    """A maker of texts of `low` to `high` words (or Chinese signs) with full stops."""
    syllables = [
        a + b for a in "b c d f g l m n p r s t v w st tr th pl".split() for b in "a e i o u ea ou er in".split()
    ]
    words = ["".join(rnd.choices(syllables, k=rnd.choice((1, 1, 2, 2, 3)))) for _ in range(6000)]
    total, weights = 0.0, []
    for rank in range(len(words)):
        total += 1 / (rank + 3)
        weights.append(total)
    signs = [chr(rnd.randint(0x4E00, 0x9FA5)) for _ in range(1500)]

    def text(low: int, high: int, chinese: bool) -> str:
        size = rnd.randint(low, high)
        parts = rnd.choices(signs, k=size) if chinese else rnd.choices(words, cum_weights=weights, k=size)
        body = "".join(parts) if chinese else " ".join(parts)
        stop = "。" if chinese else ". "
        step = rnd.randint(40, 90)
        return stop.join(body[at : at + step] for at in range(0, len(body), step)) + stop.strip()

    return text


def instructions(count: int) -> Iterator[dict[str, Any]]:
    """Rows in the alpaca form; a tenth of them Chinese, a tenth with history."""
    rnd = random.Random(SEED)
    text = _texts(rnd)
    for number in range(count):
        chinese = number % 10 == 3
        row: dict[str, Any] = {
            "instruction": f"{text(6, 25, chinese)} ({number})",
            "input": text(20, 80, chinese) if rnd.random() < 0.4 else "",
            "output": "\n\n".join(text(10, 60, chinese) for _ in range(rnd.randint(1, 4))),
        }
        if rnd.random() < 0.1:
            row["history"] = [[text(5, 20, chinese), text(10, 50, chinese)]]
        yield row


def make_rows(count: int) -> list[dict[str, Any]]:
    """`instructions` as a list."""
    return list(instructions(count))


def pairs(count: int) -> Iterator[dict[str, Any]]:
    """Rows with a chosen and a rejected answer."""
    rnd = random.Random(SEED + 1)
    text = _texts(rnd)
    for number in range(count):
        yield {
            "instruction": f"{text(20, 60, False)} ({number})", "input": "",
            "chosen": text(20, 60, False), "rejected": text(15, 45, False),
        }  # fmt: skip


def judged(count: int) -> Iterator[dict[str, Any]]:
    """Rows with an answer that is judged good (two of three) or bad."""
    for number, row in enumerate(pairs(count)):
        good = number % 3 != 2
        yield {"instruction": row["instruction"], "input": "", "output": row["chosen" if good else "rejected"],
               "label": good}  # fmt: skip


def write_rows(
    folder: Path, rows: Iterable[dict[str, Any]], columns: dict[str, str] | None = None, *, ranking: bool = False
) -> None:
    """The data file and the registry entry that every side reads; rows are written as they come, never all at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.json").open("w", encoding="utf-8") as file:
        file.write("[\n")
        for number, row in enumerate(rows):
            file.write((",\n" if number else "") + json.dumps(row, ensure_ascii=False))
        file.write("\n]\n")
    entry: dict[str, Any] = {"file_name": "rows.json", "columns": columns or ALPACA}
    if ranking:
        entry["ranking"] = True
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry}), encoding="utf-8")
