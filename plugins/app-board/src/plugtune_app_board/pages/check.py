"""What is told before a run starts: the data report, the memory it takes, the choices made for the user."""

from __future__ import annotations

import html
from typing import Any

from plugtune.errors import PlugtuneError

from plugtune_app_board import ahead
from plugtune_app_board.board import Board
from plugtune_app_board.labels import Labels, labels
from plugtune_app_board.look import explain


def report(board: Board, values: dict[str, Any]) -> str:
    """A page of HTML, or what is wrong."""
    words = labels(str(values.get("top.lang")))
    if board.settings.demo:
        return f'<div class="pt-problems">{words("demo")}</div>'
    try:
        order = board.composer.train(values)
        order.options.pop("resume_from_checkpoint", None)
        order.options["overwrite_output_dir"] = True
        answer = ahead.dry_run(board.composer, order)
    except PlugtuneError as error:
        return explain(error)
    parts = [_data(answer.get("data", {}).get("sets", []), words), _memory(board, order, words)]
    choices = [(c["what"], c["value"], c["why"]) for c in answer.get("choices", [])]
    parts.append(_table((words("what"), words("value"), words("why")), choices))
    notes = "".join(f"<li>{html.escape(str(note))}</li>" for note in answer.get("notes", []))
    return '<div class="pt-ok">' + "".join(parts) + (f"<ul>{notes}</ul>" if notes else "") + "</div>"


def _data(sets: list[dict[str, Any]], words: Labels) -> str:
    rows = []
    for entry in sets:
        share = 100 * entry["trained_tokens"] / entry["tokens"] if entry.get("tokens") else 0
        dropped = sum(drop["rows"] for drop in entry.get("dropped", {}).values())
        rows.append((
            entry["name"], f"{entry['read']:,}", f"{entry['kept']:,}", f"{entry['cut']['rows']:,}", f"{dropped:,}",
            f"{entry['bad']['rows']:,}", f"{entry['tokens']:,}", f"{share:.0f} %", str(entry["length"].get("max", "–")),
        ))  # fmt: skip
    heads = (
        "dataset",
        "rows_read",
        "rows_kept",
        "rows_cut",
        "rows_dropped",
        "rows_bad",
        "tokens",
        "share_trained",
        "longest",
    )
    return _table(tuple(words(f"col_{head}") for head in heads), rows, figures=range(1, 9))


def _memory(board: Board, order: Any, words: Labels) -> str:
    """The estimate of `plugtune estimate`; nothing when the command is not there."""
    if not ahead.can_estimate():
        return ""
    try:
        answer = ahead.estimate(board.composer, order)
    except PlugtuneError as error:
        return explain(error)
    rows = [(name, f"{value / 2**30:.2f} GiB") for name, value in answer.get("parts_bytes", {}).items() if value]
    rows.append((words("memory_peak"), f"{answer['peak_bytes'] / 2**30:.2f} GiB"))
    rows.append((f"{words('memory_free')} ({answer['device']})", f"{answer['free_bytes'] / 2**30:.2f} GiB"))
    advice = "".join(f"<li>{html.escape(str(line))}</li>" for line in answer.get("advice", []))
    verdict = "" if answer.get("fits", True) else f'<div class="pt-problems">{words("does_not_fit")}</div>'
    return _table((words("memory"), ""), rows, figures=(1,)) + verdict + (f"<ul>{advice}</ul>" if advice else "")


def _table(heads: tuple[str, ...], rows: Any, figures: Any = ()) -> str:
    kinds = ["n" if number in figures else "" for number in range(len(heads))]
    head = "".join(f'<th class="{kind}">{html.escape(text)}</th>' for text, kind in zip(heads, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{k}">{html.escape(str(c))}</td>' for c, k in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="pt-scroll"><table class="pt-table"><tr>{head}</tr>{body}</table></div>'
