"""`plugtune serve` as a process: environment, a named adapter, a backend behind the same door, a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import httpx
import pytest

openai = pytest.importorskip("openai")
pytest.importorskip("fastapi")
pytestmark = [pytest.mark.e2e, pytest.mark.long]


def start(*flags: object, **env: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "plugtune", "serve", "--port", "0", *map(str, flags)], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
    )  # fmt: skip
    until = time.monotonic() + 120
    lines = []
    while time.monotonic() < until and process.poll() is None:
        lines.append(process.stderr.readline())
        found = re.search(r"on (http://127\.0\.0\.1:\d+)/v1", lines[-1])
        if found:
            return process, found[1]
    raise AssertionError("".join(lines))


@pytest.fixture(scope="module")
def adapter(lively_dir, tmp_path_factory):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(lively_dir),
        LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    )
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


def greedy(client, model):
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello"}], temperature=0, max_tokens=12
    )
    return answer.choices[0].message.content


def test_base_and_adapter_are_served_by_name_and_behind_another_door(plugtune, lively_dir, adapter):
    process, base = start(
        "--model_name_or_path", lively_dir, "--adapters", f"tuned:{adapter}", API_KEY="s3cret", API_MODEL_NAME="mine"
    )
    try:
        client = openai.OpenAI(base_url=f"{base}/v1", api_key="s3cret", max_retries=0)
        assert [m.id for m in client.models.list()] == ["mine", "tuned"]
        answers = {name: greedy(client, name) for name in ("mine", "tuned", "mine")}
        same = ["--do_sample", "false", "--max_new_tokens", 12, "--prompt", "Hello", "--json"]
        for name, extra in (("mine", ()), ("tuned", ("--adapter_name_or_path", adapter))):
            done = plugtune("chat", "--model_name_or_path", lively_dir, *extra, *same)
            assert json.loads(done.stdout)[0]["answer"] == answers[name]
        assert answers["mine"] != answers["tuned"]
        refused = plugtune("serve", "--infer_backend", "vllm", "--vllm_url", "http://127.0.0.1:9")
        assert refused.returncode == 2
        assert "no vLLM server answers" in refused.stderr
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130)


def _gone_clients_are_told(client, base):
    """A client that does not wait for its answer ends the work of the server behind the door."""
    hasty = client.with_options(timeout=1.0)
    with pytest.raises(openai.APITimeoutError):
        hasty.completions.create(model="lively", prompt="Hello", n=16, max_tokens=900, extra_body={"ignore_eos": True})
    for _ in range(600):
        if httpx.get(f"{base}/health").json()["running"] == 0:
            break
        time.sleep(0.1)
    assert "plugtune_cancelled_total 1.0" in httpx.get(f"{base}/metrics").text


def test_a_server_behind_the_door_is_handed_requests_and_streams(lively_dir):
    behind, base = start("--model_name_or_path", lively_dir)
    try:
        front, door = start("--infer_backend", "vllm", "--vllm_url", base, "--api_key", "k", "--max_concurrent", 2)
        try:
            direct = openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
            client = openai.OpenAI(base_url=f"{door}/v1", api_key="k", max_retries=0)
            assert greedy(client, "lively") == greedy(direct, "lively")
            chunks = client.chat.completions.create(
                model="lively",
                messages=[{"role": "user", "content": "Hello"}],
                temperature=0,
                max_tokens=12,
                stream=True,
            )
            assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == greedy(direct, "lively")
            with pytest.raises(openai.NotFoundError):
                greedy(client, "other")
            with pytest.raises(openai.BadRequestError, match="at most 16"):
                client.completions.create(model="lively", prompt="Hello", n=17)
            _gone_clients_are_told(client, base)
            told = httpx.get(f"{door}/metrics", headers={"Authorization": "Bearer k"}).text
            assert 'plugtune_requests_total{path="/v1/chat/completions",status="404"} 1.0' in told
            with pytest.raises(openai.AuthenticationError):
                greedy(openai.OpenAI(base_url=f"{door}/v1", api_key="x", max_retries=0), "lively")
        finally:
            front.send_signal(signal.SIGTERM)
            front.wait(30)
    finally:
        behind.send_signal(signal.SIGTERM)
        behind.wait(30)
