"""Exports are read by others as the trained model is: logits, token ids, prompts, adapters, a hub."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from plugtune.data.records import Conversation, Message
from plugtune.errors import RequestError, RunError
from plugtune.inference.export import run_export
from plugtune.options.reader import read_request
from plugtune.templating.render import RenderOptions
from transformers import AutoModelForCausalLM, AutoTokenizer

IDS = torch.tensor([[5, 9, 20, 31, 100, 7, 250]])


def export(host, source, target, *flags: object):
    words = ["--model_name_or_path", source, "--export_dir", target, *flags]
    return run_export(read_request([str(word) for word in words]), host)


def logits(folder, **settings):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **settings).eval()
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.fixture(scope="module")
def models(lively_dir, tmp_path_factory):
    import transformers as t

    root = tmp_path_factory.mktemp("kinds")
    small = {"vocab_size": 600, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.3}  # fmt: skip
    size = t.AutoConfig.from_pretrained(lively_dir).vocab_size
    kinds = {
        "llama": t.LlamaConfig(**{**small, "vocab_size": size}),
        "qwen2": t.Qwen2Config(**{**small, "vocab_size": size}, tie_word_embeddings=True),
        "qwen3": t.Qwen3Config(**{**small, "vocab_size": size}, head_dim=128),
    }
    for name, config in kinds.items():
        shutil.copytree(lively_dir, root / name, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
        torch.manual_seed(2)
        AutoModelForCausalLM.from_config(config).save_pretrained(root / name)
    return root


@pytest.fixture(scope="module")
def adapter(models, tmp_path_factory):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(models / "llama", dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(models / "llama").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_a_gguf_file_is_read_back_with_equal_logits_and_token_ids(host, models, tmp_path, kind):
    report = export(host, models / kind, tmp_path / "out", "--exporter", "gguf", "--gguf_type", "f32")
    assert report.files == ["out-f32.gguf"]
    again = logits(tmp_path / "out", gguf_file=report.files[0])
    assert (again - logits(models / kind)).abs().max() < 1e-4
    one, two = (
        AutoTokenizer.from_pretrained(models / kind),
        AutoTokenizer.from_pretrained(tmp_path / "out", gguf_file=report.files[0]),
    )
    for text in ("Hello <|im_end|> you", "你好 😀", "  spaces\n\nand 123 lines"):
        assert one(text)["input_ids"] == two(text)["input_ids"]
    assert two.chat_template == one.chat_template
    assert two.eos_token_id == one.eos_token_id


@pytest.mark.parametrize(("kind", "most"), [("f16", 0.01), ("q8_0", 0.15)])
def test_smaller_gguf_types_stay_near_and_adapters_are_merged(host, models, adapter, tmp_path, kind, most):
    flags = ("--adapter_name_or_path", adapter, "--exporter", "gguf", "--gguf_type", kind, "--verify")
    report = export(host, models / "llama", tmp_path / "out", *flags)
    export(host, models / "llama", tmp_path / "merged", "--adapter_name_or_path", adapter)
    wanted = logits(tmp_path / "merged")
    off = (logits(tmp_path / "out", gguf_file=report.files[0]) - wanted).abs().max() / wanted.abs().max()
    assert off < most
    assert (wanted - logits(models / "llama")).abs().max() > 1
    assert report.verified["prompts_equal"] == report.verified["prompts"] >= 3
    assert "prompts equal token by token" in report.verified["verdict"]


def test_a_model_that_gguf_cannot_hold_is_refused_before_anything_is_written(host, models, tmp_path):
    shutil.copytree(models / "llama", tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(json.dumps({**config, "architectures": ["OddForCausalLM"]}))
    with pytest.raises(RequestError, match="no GGUF form is known here for OddForCausalLM"):
        export(host, tmp_path / "odd", tmp_path / "out", "--exporter", "gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["odd"]


def test_an_adapter_is_exported_for_peft_and_verified(host, models, adapter, tmp_path):
    from peft import PeftModel

    report = export(
        host, models / "llama", tmp_path / "out", "--adapter_name_or_path", adapter, "--exporter", "adapter", "--verify"
    )
    assert report.verified["answers_equal"] == report.verified["prompts"]
    base = AutoModelForCausalLM.from_pretrained(models / "llama", dtype=torch.float32)
    with torch.no_grad():
        ours = PeftModel.from_pretrained(base, tmp_path / "out").eval()(input_ids=IDS).logits
    export(host, models / "llama", tmp_path / "merged", "--adapter_name_or_path", adapter)
    assert (ours - logits(tmp_path / "merged")).abs().max() < 1e-4
    assert "library_name: peft" in (tmp_path / "out" / "README.md").read_text()
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    with pytest.raises(RequestError, match="one adapter is exported at a time"):
        export(host, models / "llama", tmp_path / "none", "--exporter", "adapter")


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_checkpoint_is_loaded_as_such_by_transformers(host, models, tmp_path, bits):
    pytest.importorskip("bitsandbytes")
    export(host, models / "llama", tmp_path / "out", "--exporter", "quantized", "--export_quantization_bit", bits)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", device_map={"": "cpu"})
    kind = type(model.model.layers[0].mlp.up_proj).__name__
    assert kind == ("Linear4bit" if bits == 4 else "Linear8bitLt")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template


def test_verification_fails_when_the_stored_template_writes_otherwise(host, models, tmp_path, monkeypatch):
    from plugtune.templating.auto import TokenizerTemplate

    other = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    monkeypatch.setattr(TokenizerTemplate, "chat_template", lambda self: other)
    with pytest.raises(RunError, match="reads prompt 1 otherwise"):
        export(host, models / "llama", tmp_path / "out", "--verify")


def go(template: str, messages) -> str:
    """Just enough of Go's template language for what the exporter writes."""
    parts = re.split(r"\{\{\s*(.*?)\s*\}\}", template)
    body = [("text" if n % 2 == 0 else "action", part) for n, part in enumerate(parts)]
    start = next(n for n, (kind, part) in enumerate(body) if (kind, part) == ("action", "range .Messages"))
    out = "".join(part for _, part in body[:start])
    for message in messages:
        taken = matched = False
        for kind, part in body[start + 1 :]:
            if kind == "text":
                out += part if taken else ""
            elif part == ".Content":
                out += message.content if taken else ""
            elif part == "end":
                taken = False
            else:
                role = re.fullmatch(r'(?:else )?if eq \.Role "(\w+)"', part)[1]
                taken = not matched and role == message.role
                matched = matched or taken
    return out


TALKS = [
    (
        Message("system", "Be brief."),
        Message("user", "Hi {there}"),
        Message("assistant", "Yes?\n"),
        Message("user", " Bye "),
    ),
    (Message("system", "S"), Message("user", "你好\n\n")),
]


@pytest.mark.parametrize("name", ["qwen", "chatml", "llama3", "qwen3", "alpaca"])
def test_ollamas_template_writes_the_prompts_of_training(host, name):
    from plugtune_export_ollama.go import go_template

    template = host.catalog.get("template", name)
    from plugtune.templating.render import render, written

    for talk in TALKS:
        turns = render(template, Conversation(talk), RenderOptions(), generation=True)
        pieces = [piece for turn in turns for part in (turn.prompt, turn.answer) for piece in part]
        wanted = "".join(written(piece, "", "<EOS>") for piece in pieces)
        assert go(go_template(template, "<EOS>"), talk) == wanted


def test_ollama_gets_weights_and_modelfile_and_impossible_templates_are_refused(host, models, tmp_path):
    report = export(host, models / "llama", tmp_path / "mine", "--exporter", "ollama", "--template", "qwen")
    text = (tmp_path / "mine" / "Modelfile").read_text(encoding="utf-8")
    assert text.startswith("FROM ./mine-f16.gguf\n")
    assert (tmp_path / "mine" / report.files[0]).is_file()
    assert 'SYSTEM """You are Qwen' in text
    assert 'PARAMETER stop "<|im_end|>"' in text
    with pytest.raises(RequestError, match="inside the first question"):
        export(host, models / "llama", tmp_path / "two", "--exporter", "ollama", "--template", "llama2")


def test_an_export_is_uploaded_to_a_hub(host, models, tmp_path, monkeypatch):
    got: dict[str, bytes] = {}
    seen: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"id": "team/tiny", "sha": "a" * 40, "siblings": []})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.headers.get("Authorization", ""))
            if self.path == "/api/repos/create":
                self.answer({"url": address() + "/team/tiny", "name": "team/tiny", "id": "team/tiny"})
            elif "/preupload/" in self.path:
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                self.answer({"files": files})
            elif "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        got[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.answer({"commitUrl": f"{address()}/team/tiny/commit/{'b' * 40}", "commitOid": "b" * 40})
            else:
                self.answer({})

        def answer(self, value) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    def address() -> str:
        return f"http://127.0.0.1:{server.server_address[1]}"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", address())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setitem(os.environ, "NO_PROXY", "127.0.0.1")
    try:
        report = export(
            host,
            models / "llama",
            tmp_path / "out",
            "--export_hub_model_id",
            "team/tiny",
            "--hf_hub_token",
            "hf_secret",
        )
    finally:
        server.shutdown()
        server.server_close()
    assert got["model.safetensors"] == (tmp_path / "out" / "model.safetensors").read_bytes()
    assert {"config.json", "tokenizer.json"} <= set(got)
    assert "team/tiny" in report.uploaded
    assert set(seen) == {"Bearer hf_secret"}
