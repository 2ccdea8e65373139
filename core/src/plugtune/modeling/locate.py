"""From what `--model_name_or_path` says to a folder or GGUF file on this machine, and the family that claims it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.capabilities import ModelFamily
from plugtune.catalog import Catalog
from plugtune.errors import RequestError, did_you_mean
from plugtune.hubs import chosen_hub, fetch_model
from plugtune.modeling.entries import find_entry
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
    hub = chosen_hub(catalog, options.hub)
    return _located(fetch_model(hub, _repository(name, options, hub.name, catalog), options, catalog), None, catalog)


def _repository(name: str, options: ModelOptions, hub: str, catalog: Catalog) -> str:
    """The repository on a hub of a model's name; a hub id is its own."""
    families = catalog.all("family")
    entry = find_entry(name, families)
    if entry is None:
        if name.count("/") == 1 and not name.startswith((".", "/", "~")):
            return name
        names = [entry.name for family in families for entry in family.models]
        raise RequestError(
            f"model {name!r} does not exist", where="model_name_or_path", why="there is no such folder",
            fix=did_you_mean(name, names) or "give a folder, a hub id (owner/name) or a name: plugtune list models",
        )  # fmt: skip
    if hub not in entry.hub:
        raise RequestError(
            f"no id of model {entry.name!r} on {hub} is known", where="model_name_or_path",
            fix=f"leave --hub out to fetch it from {', '.join(entry.hub)}, or give its id (owner/name)",
        )  # fmt: skip
    if entry.needs and not options.trust_remote_code:
        raise RequestError(
            f"model {entry.name!r} needs {entry.needs}", where="model_name_or_path",
            why="transformers has no such architecture and no installed plugin claims it",
            fix="read the code in its repository, then add --trust_remote_code true, or choose another model",
        )  # fmt: skip
    return entry.hub[hub]


def _located(folder: Path, gguf: str | None, catalog: Catalog) -> Located:
    if gguf is None and not (folder / "config.json").is_file():
        files = sorted(p.name for p in folder.glob("*.gguf"))
        if len(files) != 1:
            why, fix = _instead_of_a_model(folder)
            raise RequestError(f"{folder} holds no model", where="model_name_or_path", why=why, fix=fix)
        gguf = files[0]
    config = _read_config(folder) if gguf is None else {}
    return Located(folder, gguf, config, family_of(config, catalog))


def _instead_of_a_model(folder: Path) -> tuple[str, str]:
    """What a folder without a config is, and what to do with it."""
    if (folder / "adapter_config.json").is_file():
        return "it is an adapter", "give the base model here and this folder as --adapter_name_or_path"
    if any(folder.glob("pytorch_model_fsdp_*")):
        return (
            "it is a checkpoint whose weights are cut up among processes, which only its own run can resume",
            "go on with that run (--resume_from_checkpoint true); its output_dir holds whole weights at the end",
        )
    return "there is no config.json", ""


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RequestError("config.json cannot be read", where=str(folder / "config.json"), why=str(error)) from error


def family_of(config: dict[str, Any], catalog: Catalog) -> ModelFamily | None:
    """The family that claims a config by its architectures, else by its model type.

    A family that names model types claims architectures of those only: some types are read by the class of another
    (an EXAONE saved by transformers says `LlamaForCausalLM`), and stay with their own family.

    Raises:
        RequestError: two families claim it.
    """
    kind, architectures = config.get("model_type"), set(config.get("architectures") or [])
    families: list[ModelFamily] = catalog.all("family")
    by_architecture = [f for f in families if architectures & set(f.architectures)]
    by_type = [f for f in families if kind in f.model_types]
    surely = [f for f in by_architecture if kind in f.model_types or not f.model_types]
    claims = surely or by_type or by_architecture
    if len(claims) > 1:
        raise RequestError(
            f"the model is claimed by the families {' and '.join(f.name for f in claims)}", where="config.json",
            why="a claim has one owner", fix="deny the plugin of one of them (PLUGTUNE_PLUGINS_DENY)",
        )  # fmt: skip
    return claims[0] if claims else None


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
    for index in (folder / "model.safetensors.index.json", folder / "pytorch_model.bin.index.json"):
        if not index.is_file() or (index.name.startswith("pytorch") and not pickled_only(folder)):
            continue
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(name for name in wanted if not (folder / name).is_file())
        if missing:
            raise RequestError(
                f"weights are missing: {', '.join(missing)}", where=str(folder), fix="download the model again"
            )


def pickled_only(folder: Path) -> bool:
    """Whether the weights are `pytorch_model*.bin` and there are no safetensors."""
    return not any(folder.glob("*.safetensors")) and any(folder.glob("pytorch_model*.bin"))


def _broken(path: Path, why: str) -> RequestError:
    return RequestError(f"weights {path} are broken", why=why, fix="copy or download the file again")
