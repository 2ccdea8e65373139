"""Fetches a repository into the local cache and says where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from plugtune import RequestError

WEIGHTS = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.gguf"]
OFFLINE = ("MODELSCOPE_OFFLINE", "HF_HUB_OFFLINE")


def resolve(repository: str, *, revision: str | None, token: str | None, cache_dir: str | None, kind: str) -> Path:
    """The local folder of a repository. Pickled weights and code are left on the hub.

    Raises:
        RequestError: the hub cannot be reached and the cache does not have it, or there is no such repository.
    """
    from modelscope_hub import HubApi, NetworkError, RequestTimeoutError

    wanted: dict[str, Any] = {
        # The default branch is called main on one hub and master on the other; a run's default names the former.
        "revision": "master" if revision in (None, "main") else revision,
        "cache_dir": cache_dir,
    }
    try:
        api = HubApi(token=token)
        if is_offline():
            return _cached(api, repository, kind, wanted)
        try:
            patterns = WEIGHTS if kind == "model" else None
            folder = Path(api.download_repo(repository, kind, allow_patterns=patterns, **wanted))
        except (NetworkError, RequestTimeoutError, ConnectionError) as error:
            try:
                return _cached(api, repository, kind, wanted)
            except Exception:
                raise error from None
        if not any(folder.iterdir()):
            raise FileNotFoundError(f"the repository has none of {', '.join(WEIGHTS)}")
        return folder
    except Exception as error:  # requests, hub and cache errors have no common base
        where = "found in the cache, and the hub is switched off" if is_offline() else "fetched from ModelScope"
        raise RequestError(
            f"{kind} {repository!r} cannot be {where}", why=f"{type(error).__name__}: {error}".split("\n")[0],
            fix=f"unset {' and '.join(OFFLINE)} to fetch it" if is_offline()
            else "check the id, the token (--ms_hub_token) and the network (MODELSCOPE_ENDPOINT), or give a folder",
        ) from error  # fmt: skip


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE)


def _cached(api: Any, repository: str, kind: str, wanted: dict[str, Any]) -> Path:
    return Path(api.download_repo(repository, kind, local_files_only=True, **wanted))
