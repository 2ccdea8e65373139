"""Talking in the terminal, through the program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e


def test_a_conversation_with_commands(model_dir, tmp_path):
    lines = [
        "/set max_new_tokens 6", "/set temperature 0", "Hello", "/undo", '"""', "one", 'two"""', "first \\", "second",
        f"/save {tmp_path / 'talk.json'}", "/sett 1", "/set top_p 7", "/exit", "never asked",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "plugtune", "chat", "--model_name_or_path", str(model_dir), "--system", "Be brief."],
        input="\n".join(lines), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    messages = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [m["content"] for m in messages if m["role"] == "user"] == ["one\ntwo", "first \nsecond"]
    assert "did you mean '/set'" in done.stderr
    assert "above the greatest value" in done.stderr


def test_ctrl_c_stops_the_answer_and_not_the_program(model_dir, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "plugtune", "chat", "--model_name_or_path", str(model_dir), "--seed", "1",
         "--max_new_tokens", "100000", "--temperature", "2", "--top_p", "1", "--top_k", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    process.stdin.write(b"Go on for ever\n")
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(f"/save {tmp_path / 't.json'}\n/exit\n".encode(), timeout=60)
    assert process.returncode == 0, err.decode()
    assert b"[stopped]" in out
    assert len(json.loads((tmp_path / "t.json").read_text())["messages"]) == 2
