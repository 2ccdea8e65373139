"""A plain model folder as one GGUF file. Two passes over the weights: their places, then their contents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from plugtune import RequestError
from safetensors import safe_open

from plugtune_export_gguf.arch import architecture_of, write_header
from plugtune_export_gguf.vocabulary import write_vocabulary

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0,
}  # fmt: skip


def write_gguf(folder: Path, file: Path, kind: str, tokenizer: Any, name: str) -> None:
    """Write the file.

    Raises:
        RequestError: a weight has no place in this architecture.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    arch = architecture_of(config)
    # The heads that share a matrix with the embeddings are not stored twice.
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], int(config["num_hidden_layers"]))
    writer = gguf.GGUFWriter(str(file), arch)
    write_header(writer, config, arch, kind, name)
    write_vocabulary(writer, tokenizer, int(config["vocab_size"]))
    for original, shape in _shapes(folder):
        target = names.get_name(original, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise RequestError(f"the weight {original} has no place in a GGUF file of a {arch} model")
        as_type = _type(shape, kind)
        places = gguf.quant_shape_to_byte_shape(shape, as_type)
        writer.add_tensor_info(target, places if as_type == TYPES["q8_0"] else shape, _dtype(as_type),
                               int(np.prod(places)), raw_dtype=as_type)  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    heads = int(config["num_attention_heads"])
    groups = int(config.get("num_key_value_heads") or heads)
    for original, tensor in _tensors(folder):
        array = tensor.to(torch.float32).numpy()
        if arch == "llama" and ".self_attn.q_proj." in original:
            array = _interleaved(array, heads)
        if arch == "llama" and ".self_attn.k_proj." in original:
            array = _interleaved(array, groups)
        writer.write_tensor_data(gguf.quantize(array, _type(array.shape, kind)))
    writer.close()


def _interleaved(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys with the two halves of each head interleaved: llama files rotate neighbours."""
    return array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _type(shape: Any, kind: str) -> Any:
    """Vectors stay in fp32; rows that do not divide into blocks of 32 stay in fp16."""
    if len(shape) == 1:
        return TYPES["f32"]
    return TYPES["f16"] if kind == "q8_0" and shape[-1] % 32 else TYPES[kind]


def _dtype(as_type: Any) -> Any:
    if as_type == TYPES["f32"]:
        return np.dtype(np.float32)
    return np.dtype(np.float16) if as_type in (TYPES["f16"], TYPES["bf16"]) else np.dtype(np.uint8)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for path in _files(folder):
        with safe_open(path, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                yield name, tuple(shard.get_slice(name).get_shape())


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in _files(folder):
        with safe_open(path, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                yield name, shard.get_tensor(name)
