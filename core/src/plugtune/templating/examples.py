"""Holds a template against its golden examples."""

from __future__ import annotations

from plugtune.data.records import RowError
from plugtune.templating.model import ChatTemplate, TemplateExample
from plugtune.templating.openai import conversation_of
from plugtune.templating.render import RenderOptions, render, segments, written

BOS, EOS = "<s>", "</s>"
"""How examples write the tokenizer's own beginning and end of sequence."""


def failures(template: ChatTemplate) -> list[str]:
    """What is wrong with each example; empty when all hold."""
    return [text for number, example in enumerate(template.examples, 1) for text in _check(template, number, example)]


def _check(template: ChatTemplate, number: int, example: TemplateExample) -> list[str]:
    conversation = conversation_of({"messages": list(example.messages), "tools": list(example.tools)})
    options = RenderOptions(enable_thinking=(example.options or {}).get("enable_thinking", True))
    try:
        parts = segments(template, render(template, conversation, options))
    except RowError as error:
        return [f"example {number}: {error}"]
    eos = template.stop[0] if template.replace_eos and template.stop else EOS
    texts = [(written(part.piece, BOS, eos), part.train) for part in parts]
    found = "".join(text for text, _ in texts)
    wrong = []
    if found != example.text:
        at = next(
            (i for i, (a, b) in enumerate(zip(found, example.text, strict=False)) if a != b),
            min(len(found), len(example.text)),
        )
        wrong.append(
            f"example {number}, character {at}: expected {example.text[at : at + 40]!r}, found {found[at : at + 40]!r}"
        )
    trained = _runs(texts)
    if example.trained and trained != list(example.trained):
        wrong.append(f"example {number}: expected to train on {list(example.trained)!r}, found {trained!r}")
    return wrong


def _runs(texts: list[tuple[str, bool]]) -> list[str]:
    runs: list[str] = []
    before = False
    for text, train in texts:
        if train and before:
            runs[-1] += text
        elif train:
            runs.append(text)
        before = train
    return runs
