"""Streams weights in and out: one tensor read, changed and put into the current output shard at a time.

Pickled weights are read as tensors only (`weights_only`), memory-mapped, and written as safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from plugtune import RequestError
from plugtune.modeling.value_head import FILE as HEAD_FILE
from plugtune.training.allocator import give_back
from safetensors import safe_open
from safetensors.torch import save_file


def base_shards(folder: Path) -> list[Path]:
    """The base's weight files in order."""
    files = sorted(path for path in folder.glob("*.safetensors") if path.name != HEAD_FILE)
    index = folder / "model.safetensors.index.json"
    if not files:
        files, index = sorted(folder.glob("pytorch_model*.bin")), folder / "pytorch_model.bin.index.json"
    if not files:
        raise RequestError(f"{folder} holds no weights (*.safetensors, pytorch_model*.bin)", where="model_name_or_path")
    if index.is_file():
        used = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [file for file in files if file.name in used]
    return files


def tensor_names(files: list[Path]) -> set[str]:
    """Names of all tensors, from the files' headers."""
    names: set[str] = set()
    for file in files:
        if file.suffix == ".bin":
            names |= set(torch.load(file, map_location="meta", mmap=True, weights_only=True))
            continue
        with safe_open(file, framework="pt", device="cpu") as shard:
            names |= set(shard.keys())
    return names


def read_tensors(files: list[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) one by one; a tensor is read when it is its turn."""
    for file in files:
        if file.suffix == ".bin":
            yield from torch.load(file, map_location="cpu", mmap=True, weights_only=True).items()
            continue
        with safe_open(file, framework="pt", device="cpu") as shard:
            names = list(shard.keys())
        for name in names:
            # A mapping for each, whose pages go with the tensor; one for all keeps those of the whole file.
            with safe_open(file, framework="pt", device="cpu") as shard:
                tensor = shard.get_tensor(name)
            yield name, tensor


class ShardWriter:
    """Collects tensors and writes a shard whenever the next one would exceed the size."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.pending: dict[str, torch.Tensor] = {}
        self.size, self.total = 0, 0
        self.shards: list[list[str]] = []

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Take one tensor."""
        size = tensor.numel() * tensor.element_size()
        if self.pending and self.size + size > self.limit:
            self._flush()
        self.pending[name] = tensor.contiguous()
        self.size += size
        self.total += size

    def _flush(self) -> None:
        self.shards.append(list(self.pending))
        save_file(self.pending, self.folder / f"part-{len(self.shards):05d}.safetensors", metadata={"format": "pt"})
        self.pending, self.size = {}, 0
        give_back()  # the next shard does not find its place in the holes of this one

    def close(self) -> list[str]:
        """Write the rest, give the files their names, write the index; returns the file names."""
        if self.pending:
            self._flush()
        count = len(self.shards)
        names, weight_map = [], {}
        for number, tensors in enumerate(self.shards, 1):
            name = "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"
            (self.folder / f"part-{number:05d}.safetensors").rename(self.folder / name)
            names.append(name)
            weight_map.update(dict.fromkeys(tensors, name))
        if count > 1:
            index = {"metadata": {"total_size": self.total}, "weight_map": weight_map}
            (self.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
        return names
