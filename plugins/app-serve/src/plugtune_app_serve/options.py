"""Options of the server, with the environment variables that LLaMA-Factory's server read."""

from __future__ import annotations

import os
from dataclasses import dataclass

import plugtune


@dataclass(slots=True)
class ServeOptions:
    """Where the server listens and what it allows."""

    host: str = plugtune.option("127.0.0.1", help="Address to listen on; environment API_HOST.")
    port: int = plugtune.option(8000, help="Port to listen on, 0 for a free one; environment API_PORT.", minimum=0)
    api_key: str | None = plugtune.option(None, help="Key that clients must send; environment API_KEY.")
    served_model_name: str | None = plugtune.option(
        None, help="Name of the model for clients (default: its folder's name); environment API_MODEL_NAME."
    )
    adapters: list[str] = plugtune.option([], help="Adapters served as models of their own: NAME:FOLDER; a comma list.")
    stage: str = plugtune.option("sft", help="rm serves a reward model, which scores texts and does not chat.")
    max_concurrent: int = plugtune.option(64, help="Answers computed together; environment MAX_CONCURRENT.", minimum=1)
    max_queue: int = plugtune.option(256, help="Answers that may wait; more get status 429.", minimum=0)
    max_batch_tokens: int = plugtune.option(
        65536, help="Positions kept in memory for all answers together.", minimum=16
    )
    max_answer_tokens: int = plugtune.option(8192, help="Most tokens that one answer may ask for.", minimum=1)
    max_body_bytes: int = plugtune.option(1 << 20, help="Largest request body; more gets status 413.", minimum=1024)
    max_n: int = plugtune.option(16, help="Most answers to one request.", minimum=1)
    cors_origins: list[str] = plugtune.option(
        [], help="Web pages that may call the server; a comma list, off if empty."
    )
    allowed_hosts: list[str] = plugtune.option(
        [], help="Names under which clients address the server, besides addresses and this machine's; a comma list."
    )
    open_to_all: bool = plugtune.option(
        False, help="Without a key on an address that others reach; else a key is made and printed."
    )
    root_path: str = plugtune.option("", help="Path prefix behind a proxy; environment FASTAPI_ROOT_PATH.")
    infer_backend: str = plugtune.option(
        "huggingface", help="Who computes: this process, or a vLLM server.", choices=("huggingface", "vllm")
    )
    vllm_url: str = plugtune.option(
        "http://127.0.0.1:8001", help="Where the vLLM server listens that infer_backend vllm hands requests to."
    )


ENVIRONMENT = {
    "host": "API_HOST", "port": "API_PORT", "api_key": "API_KEY", "served_model_name": "API_MODEL_NAME",
    "max_concurrent": "MAX_CONCURRENT", "root_path": "FASTAPI_ROOT_PATH",
}  # fmt: skip
"""Option → the variable that gives it when no flag does."""


def from_environment() -> dict[str, tuple[str, str]]:
    """Options that the environment gives: name → (value, where it stands)."""
    return {
        name: (os.environ[variable], f"environment variable {variable}")
        for name, variable in ENVIRONMENT.items()
        if os.environ.get(variable)
    }
