"""What is wrong with a template's file is told with file, line and key, in the words of whoever wrote it."""

from __future__ import annotations

import pytest
from plugtune.errors import RequestError
from plugtune.templating.load import load_template

GOOD = 'name: x\nuser: "Q {{content}} A "\nassistant: "{{content}}|"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "usr: x\n", ["line 4", "unknown key 'usr'", "'user'"]),
        (GOOD + "system: nothing\n", ["line 4", "system holds no {{content}}"]),
        (GOOD + "prefix: [{tokn: x}]\n", ["line 4", "is not a piece of prefix"]),
        (GOOD + "prefix: '{{bos_token}}'\n", ["line 4", "prefix holds {{bos_token}}, which stands for nothing", "{special: bos}"]),
        (GOOD + "system: '{{ content }} {{content}}'\n", ["line 4", "without spaces inside"]),
        (GOOD + "replace_eos: maybe\n", ["line 4", "write true or false"]),
        (GOOD + "eos: twice\n", ["line 4", "eos is 'twice'"]),
        (GOOD + "opener: Z\n", ["line 2", "user does not end with the opener"]),
        (GOOD + "summary: a: b\n", ["line 4", "no valid YAML", "double quotes"]),
        (GOOD + "extends: nowhere.yaml\n", ["line 4", "extends nowhere.yaml, which is not beside this file"]),
        (GOOD + "extends: t.yaml\n", ["line 4", "extends itself"]),
        (GOOD + "examples: 3\n", ["line 4", "examples is a list"]),
        (GOOD + "examples:\n  - messages: [{role: user, content: a}]\n    text: b\n  - messages: x\n", ["line 7", "example 2 needs"]),
        (GOOD + "examples:\n  - {messages: [{role: usr, content: a}], text: b}\n", ["line 5, example 1, messages[1]", "'usr'", "'user'"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path, text, words):
    (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        load_template(tmp_path / "t.yaml")
    assert all(word in str(caught.value) for word in ("t.yaml", *words)), caught.value


def test_a_template_extends_one_that_extends_another(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD + "stop: ['|']\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nname: b\nuser: 'B {{content}} '\n")
    (tmp_path / "c.yaml").write_text("extends: b.yaml\nname: c\n")
    made = load_template(tmp_path / "c.yaml")
    assert (made.name, made.user, made.assistant, made.stop) == ("c", ("B {{content}} ",), ("{{content}}|",), ("|",))
