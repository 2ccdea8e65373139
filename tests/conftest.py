"""Shared pieces: plugins loaded explicitly, a small real tokenizer, a tiny random model, a private cache."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forkserver import Forked
from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy

ROOT = Path(__file__).parents[1]
PLUGINS = ("contrib_templates", *sorted(p.name.replace("-", "_") for p in (ROOT / "plugins").glob("*-*")))
"""Import names, without their prefix, of every plugin in the tree."""

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(autouse=True, scope="session")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["PLUGTUNE_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("PLUGTUNE_POLICY", "PLUGTUNE_PLUGINS_ALLOW", "PLUGTUNE_PLUGINS_DENY", "PLUGTUNE_DEBUG"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def host() -> PluginHost:
    modules = [(name.replace("_", "-"), importlib.import_module(f"plugtune_{name}")) for name in PLUGINS]
    return PluginHost(plugins=modules, policy=Policy()).load()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random LLaMA with a byte-level BPE tokenizer trained here, ChatML tokens and chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-llama")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    corpus = [
        Path(__file__).read_text(encoding="utf-8"),
        "The quick brown fox answers questions.",
        "你好，我是一个助手。",
    ]
    specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=600, special_tokens=specials, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="<|im_end|>", pad_token="</s>"
    )
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=3, pad_token_id=1,
        tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_dir)


@pytest.fixture(scope="session")
def lively_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model whose likeliest tokens vary: one with tied embeddings mostly repeats its last token."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("lively") / "lively"
    shutil.copytree(model_dir, folder)
    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(model_dir)
    config.tie_word_embeddings, config.initializer_range, config.max_position_embeddings = False, 0.4, 1024
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plugtune() -> Any:
    """Runs the installed program in a process of its own."""

    def call(
        *args: object, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plugtune", *map(str, args)], capture_output=True, text=True, cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "2", **(env or {})}, timeout=600, check=False,
        )  # fmt: skip

    return call


@pytest.fixture(scope="session")
def forked(_environment: None) -> Iterator[Any]:
    """Runs the program in forks of a process that has imported everything already (see `forkserver.py`)."""
    server = Forked()
    yield server
    server.close()


from board_fixtures import composer, form, start_board, work  # noqa: E402, F401
