"""From what `--model_name_or_path` says to a folder or GGUF file on this machine, and the family that claims it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.capabilities import ModelFamily, load_ref
from plugtune.catalog import Catalog
from plugtune.errors import RequestError, did_you_mean
from plugtune.options.groups import ModelOptions
from plugtune.plugins.policy import read_policy


@dataclass(frozen=True, slots=True)
class Located:
    """A model on this machine: its folder, the GGUF file inside it if it is one, and its config.json as read."""

    folder: Path
    gguf_file: str | None
    config: dict[str, Any]
    family: ModelFamily | None

    @property
    def model_type(self) -> str:
        """The `model_type` of the config, empty when it names none."""
        return str(self.config.get("model_type", ""))

    @property
    def dtype(self) -> str:
        """The dtype that the config says the weights are stored in, empty when it says none."""
        return str(self.config.get("dtype") or self.config.get("torch_dtype") or "").removeprefix("torch.")


def locate(options: ModelOptions, catalog: Catalog) -> Located:
    """Find the model.

    Raises:
        RequestError: nothing of that name is here or on the hub, or the folder holds no model.
    """
    read_policy().check_remote_code(options.trust_remote_code)
    name = str(options.model_name_or_path)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return _located(path.parent, path.name, catalog)
    if path.is_dir():
        return _located(path, None, catalog)
    entries = {entry.name: entry for family in catalog.all("family") for entry in family.models}
    hub = chosen_hub(catalog)
    repository = entries[name].hub.get(hub, "") if name in entries else name
    if not repository or (
        name not in entries and (repository.count("/") != 1 or repository.startswith((".", "/", "~")))
    ):
        raise RequestError(
            f"model {name!r} does not exist", where="model_name_or_path", why="there is no such folder",
            fix=did_you_mean(name, entries) or "give a folder, a hub id (owner/name) or a name: plugtune list models",
        )  # fmt: skip
    resolve = load_ref(catalog.get("hub", hub).resolve)
    token = catalog.reveal(options.hf_hub_token or options.ms_hub_token)
    folder = resolve(
        repository, revision=options.model_revision, token=token, cache_dir=options.cache_dir, kind="model"
    )
    return _located(Path(folder), None, catalog)


def chosen_hub(catalog: Catalog) -> str:
    """The hub whose switch is set in the environment (`USE_MODELSCOPE_HUB=1`), else Hugging Face."""
    for hub in catalog.all("hub"):
        if hub.switch and os.environ.get(hub.switch, "").lower() in ("1", "true", "yes"):
            return str(hub.name)
    return "huggingface"


def _located(folder: Path, gguf: str | None, catalog: Catalog) -> Located:
    if gguf is None and not (folder / "config.json").is_file():
        files = sorted(p.name for p in folder.glob("*.gguf"))
        if len(files) != 1:
            adapter = (folder / "adapter_config.json").is_file()
            raise RequestError(
                f"{folder} holds no model", where="model_name_or_path",
                why="it is an adapter" if adapter else "there is no config.json",
                fix="give the base model here and this folder as --adapter_name_or_path" if adapter else "",
            )  # fmt: skip
        gguf = files[0]
    config = _read_config(folder) if gguf is None else {}
    return Located(folder, gguf, config, family_of(config, catalog))


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RequestError("config.json cannot be read", where=str(folder / "config.json"), why=str(error)) from error


def family_of(config: dict[str, Any], catalog: Catalog) -> ModelFamily | None:
    """The family that claims a config by its architectures, else by its model type."""
    architectures = set(config.get("architectures") or [])
    families: list[ModelFamily] = catalog.all("family")
    by_architecture = [f for f in families if architectures & set(f.architectures)]
    by_type = [f for f in families if config.get("model_type") in f.model_types]
    return next(iter(by_architecture or by_type), None)


def check_weights(folder: Path) -> None:
    """Find truncated or unreadable safetensors in milliseconds, before anything heavy is imported.

    A safetensors file begins with its header's length (8 bytes, little endian) and a JSON header whose `data_offsets`
    say how long the file must be (https://github.com/huggingface/safetensors, "Format").

    Raises:
        RequestError: a file is broken; names it and what is wrong.
    """
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            try:
                if size < 8 or length > size - 8:
                    raise ValueError("its header is cut off")
                header = json.loads(file.read(length))
                ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
            except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
                raise _broken(path, str(error)) from error
        expected = 8 + length + max(ends, default=0)
        if size != expected:
            raise _broken(path, f"it has {size} bytes and its header promises {expected}")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(name for name in wanted if not (folder / name).is_file())
        if missing:
            raise RequestError(
                f"weights are missing: {', '.join(missing)}", where=str(folder), fix="download the model again"
            )


def _broken(path: Path, why: str) -> RequestError:
    return RequestError(f"weights {path} are broken", why=why, fix="copy or download the file again")
