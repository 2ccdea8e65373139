"""Fetches a repository into the local cache, verifies what is new, and says where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune import RequestError

from plugtune_hub_huggingface.verify import blobs, damaged

WEIGHTS = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.gguf"]


def resolve(repository: str, *, revision: str | None, token: str | None, cache_dir: str | None, kind: str) -> Path:
    """The local folder of a repository. Pickled weights and code are left on the hub.

    A download that broke off goes on where it stopped; progress is shown on stderr.

    Raises:
        RequestError: the hub cannot be reached and the cache does not have it, there is no such repository, or a file
            arrived damaged.
    """
    wanted: dict[str, Any] = {
        "repo_type": kind, "revision": revision, "token": token, "cache_dir": cache_dir,
        "allow_patterns": WEIGHTS if kind == "model" else None,
    }  # fmt: skip
    known = _cached(repository, wanted)
    try:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(repository, **wanted))
    except Exception as error:  # httpx, hub and cache errors have no common base
        raise RequestError(
            f"{kind} {repository!r} cannot be fetched from the Hugging Face hub",
            why=f"{type(error).__name__}: {error}".split("\n")[0],
            fix="check the id, the token (--hf_hub_token) and the network (HF_ENDPOINT names a mirror), "
            "or give a local folder",
        ) from error
    _verify(folder, known, repository)
    return folder


def _cached(repository: str, wanted: dict[str, Any]) -> set[Path]:
    """Files that are here already; they were verified when they came."""
    from huggingface_hub import snapshot_download

    try:
        return blobs(Path(snapshot_download(repository, local_files_only=True, **wanted)))
    except Exception:  # nothing of it is here
        return set()


def _verify(folder: Path, known: set[Path], repository: str) -> None:
    broken = damaged(blobs(folder) - known)
    if not broken:
        return
    names = sorted(p.name for p in folder.rglob("*") if p.is_symlink() and p.resolve() in broken)
    for file in broken:
        file.unlink()
    for link in [p for p in folder.rglob("*") if p.is_symlink() and not p.exists()]:
        link.unlink()
    raise RequestError(
        f"{', '.join(names)} of {repository!r} arrived damaged", where=str(folder),
        why="the content is not what the hub's hash says; the damaged files were taken away",
        fix="run it again to fetch them again",
    )  # fmt: skip


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
