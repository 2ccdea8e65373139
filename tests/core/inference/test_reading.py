"""Thoughts and calls are told from what is said, however the answer is cut into pieces."""

from __future__ import annotations

import pytest
from plugtune.inference.reading import AnswerReader, Thoughts, tool_style_of
from plugtune.templating.choose import bind

WORDS = ("<think>", "</think>")
CASES = [
    ("<think>\nA thought.\n</think>\n\nSaid.", False, ("A thought.", "Said.")),
    ("  <think>x</think>y", False, ("x", "y")),
    ("half a thought</think>then", True, ("half a thought", "then")),
    ("no thoughts, a < b", False, ("", "no thoughts, a < b")),
    ("<think>never closed", False, ("never closed", "")),
    ("<thin", False, ("", "<thin")),
]


@pytest.mark.parametrize(("text", "inside", "wanted"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_thoughts_are_the_same_however_they_come(text, inside, wanted, size):
    thoughts = Thoughts(WORDS, inside)
    pieces = [text[n : n + size] for n in range(0, len(text), size)]
    told = [thoughts.feed(piece, last=n == len(pieces) - 1) for n, piece in enumerate(pieces)]
    assert ("".join(t for t, _ in told), "".join(s for _, s in told)) == wanted


def test_the_tool_style_of_a_tokenizers_own_template_is_found_by_asking_it(host, tokenizer):
    import copy

    from plugtune.templating.tools import STYLES

    own = copy.deepcopy(tokenizer)
    own.chat_template = bind("qwen", host.catalog, tokenizer).chat_template()
    assert tool_style_of(bind("auto", host.catalog, own)) is STYLES["tool_call_tags"]
    assert tool_style_of(bind("auto", host.catalog, tokenizer)) is None
    reading = AnswerReader(bind("qwen", host.catalog, tokenizer)).read(
        'I look.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', tools=True
    )
    assert (reading.content, reading.calls[0].name, reading.calls[0].arguments) == ("I look.", "f", {"a": 1})
