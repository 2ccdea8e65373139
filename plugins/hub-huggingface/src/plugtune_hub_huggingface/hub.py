"""Fetches a repository into the local cache and says where it is."""

from __future__ import annotations

from pathlib import Path

from plugtune import RequestError

WEIGHTS = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.gguf"]


def resolve(repository: str, *, revision: str | None, token: str | None, cache_dir: str | None, kind: str) -> Path:
    """The local folder of a repository. Pickled weights and code are left on the hub.

    Raises:
        RequestError: the hub cannot be reached and the cache does not have it, or there is no such repository.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                repository, repo_type=kind, revision=revision, token=token, cache_dir=cache_dir,
                allow_patterns=WEIGHTS if kind == "model" else None,
            )
        )  # fmt: skip
    except Exception as error:  # httpx, hub and cache errors have no common base
        raise RequestError(
            f"{kind} {repository!r} cannot be fetched from the Hugging Face hub",
            why=f"{type(error).__name__}: {error}".split("\n")[0],
            fix="check the id and the network (HF_ENDPOINT names a mirror), or give a local folder",
        ) from error


def upload(folder: Path, repository: str, *, token: str | None) -> str:
    """Upload a folder to a private repository, which is made when it does not exist; returns its address.

    Raises:
        RequestError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        made = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Upload a model made with plugtune")
    except Exception as error:  # httpx, hub and file errors have no common base
        raise RequestError(
            f"{folder} cannot be uploaded to {repository!r}", where="export_hub_model_id",
            why=f"{type(error).__name__}: {error}".split("\n")[0],
            fix="check the id and the token (--hf_hub_token, or HF_TOKEN); the folder is complete on this machine",
        ) from error  # fmt: skip
    return str(made)
