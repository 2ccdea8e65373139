"""The shape of a model, from its config.json, the headers of its weights, or its size alone. Imports no library.

A config's counts follow the usual decoder: per block query, key, value and output projections, a gated or plain MLP
(or experts), norms; embeddings and an output head that may share a matrix. Where weights are at hand, their headers
give the exact numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError

NAMES: dict[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "multi_query_group_num", "num_kv_heads", "n_head_kv"),
    "head": ("head_dim", "kv_channels"),
    "inner": ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim"),
    "vocabulary": ("vocab_size", "padded_vocab_size"),
    "context": ("max_position_embeddings", "n_positions", "seq_length"),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts"),
    "active": ("num_experts_per_tok", "num_experts_per_token"),
    "expert_inner": ("moe_intermediate_size",),
}
"""What is wanted → the names that configs give it."""

WIDTHS = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "torch.float32": 4.0, "torch.bfloat16": 2.0}
"""Dtype as configs name it → bytes."""

PLAIN_MLP = ("gelu", "gelu_new", "gelu_fast", "relu", "relu2")
"""Activations that models use without a gate."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer of each block: its name, inputs and outputs, and how many of them a block has."""

    name: str
    inputs: int
    outputs: int
    count: int = 1

    @property
    def size(self) -> int:
        """Weights."""
        return self.inputs * self.outputs * self.count


@dataclass(frozen=True, slots=True)
class Shape:
    """What memory depends on.

    Attributes:
        linears: linear layers of a block.
        queries, keys: widths of all query heads and of all key heads.
        heads: query heads.
        inner: width of the MLP that a token goes through (all its experts together).
        tied: whether embeddings and output head share a matrix.
        rest: parameters outside linear layers, embeddings and head.
        stored: bytes of a weight in its file; 0 when that is not known.
        source: where it comes from, for the user.
    """

    layers: int
    hidden: int
    heads: int
    queries: int
    keys: int
    inner: int
    vocabulary: int
    context: int
    gated: bool
    tied: bool
    linears: tuple[Linear, ...]
    rest: int
    source: str = ""
    stored: float = 0

    @property
    def block(self) -> int:
        """Weights of the linear layers of a block."""
        return sum(linear.size for linear in self.linears)

    @property
    def embedding(self) -> int:
        """Weights of the embeddings."""
        return self.vocabulary * self.hidden

    @property
    def head(self) -> int:
        """Weights of an output head of its own."""
        return 0 if self.tied else self.embedding

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layers * self.block + self.embedding + self.head + self.rest


def shape_of_config(config: Mapping[str, Any], source: str = "config.json") -> Shape:
    """The shape that a config describes.

    Raises:
        RequestError: it says neither how wide nor how deep the model is.
    """
    text = {**config, **(config.get("text_config") or {})}
    v = {key: next((int(text[n]) for n in names if isinstance(text.get(n), int)), 0) for key, names in NAMES.items()}
    if not v["hidden"] or not v["layers"] or not v["vocabulary"]:
        raise RequestError(
            "this config does not say how large the model is", where=source,
            why="hidden_size, num_hidden_layers and vocab_size are needed",
        )  # fmt: skip
    heads = v["heads"] or max(v["hidden"] // 128, 1)
    head = v["head"] or v["hidden"] // heads
    grouped = v["kv_heads"] if text.get("multi_query_attention", True) else heads
    queries, keys = heads * head, (grouped or heads) * head
    act = str(text.get("hidden_act") or text.get("activation_function") or text.get("hidden_activation") or "silu")
    gated = act not in PLAIN_MLP
    inner = v["inner"] or 4 * v["hidden"]
    linears = [
        Linear("q_proj", v["hidden"], queries), Linear("k_proj", v["hidden"], keys),
        Linear("v_proj", v["hidden"], keys), Linear("o_proj", queries, v["hidden"]),
    ]  # fmt: skip
    experts, width = v["experts"], v["expert_inner"] or inner
    linears += _mlp(v["hidden"], width if experts else inner, gated, experts or 1)
    used = width * max(v["active"], 1) if experts else inner
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    norms = (2 * v["layers"] + 1) * v["hidden"]
    norms += int(text.get("n_positions") or 0) * v["hidden"]  # positions that are learnt
    return Shape(
        v["layers"], v["hidden"], heads, queries, keys, used, v["vocabulary"], v["context"], gated, tied,
        tuple(linears), norms, source, WIDTHS.get(str(text.get("dtype") or text.get("torch_dtype")), 0),
    )  # fmt: skip


def _mlp(hidden: int, inner: int, gated: bool, count: int) -> list[Linear]:
    first = [Linear("gate_proj", hidden, inner, count)] if gated else []
    return [*first, Linear("up_proj", hidden, inner, count), Linear("down_proj", inner, hidden, count)]


def shape_of_folder(folder: Path, config: Mapping[str, Any]) -> Shape:
    """The shape of a local checkpoint: the config's, corrected by what the weights' headers say.

    Raises:
        RequestError: the config says too little.
    """
    shape = shape_of_config(config, str(folder / "config.json"))
    # Quantized weights are packed: their headers do not show the layers' sizes.
    tensors, stored = ({}, 0.0) if config.get("quantization_config") else _headers(folder)
    if not tensors:
        return shape
    blocks: dict[str, Linear] = {}
    counted, depth = 0, set()
    for name, size in tensors.items():
        found = re.search(r"\.(?:layers|h|blocks|layer)\.(\d+)\.(.+)\.weight$", name)
        if found:
            depth.add(int(found[1]))
        if found and len(size) == 2:
            counted += size[0] * size[1]
            if int(found[1]) == max(depth):
                last = found[2].rpartition(".")[2]
                blocks[found[2]] = Linear(last, size[1], size[0])
    total = sum(_product(size) for size in tensors.values())
    tied = not any(name.endswith(("lm_head.weight", "output_layer.weight", "embed_out.weight")) for name in tensors)
    outer = shape.embedding * (1 if tied else 2)
    layers = len(depth) or shape.layers
    mean = counted // layers if layers else 0
    linears = tuple(blocks.values())
    # Blocks may differ from each other: the sizes of the last one are scaled to the mean.
    if linears and abs(sum(x.size for x in linears) - mean) > 0.01 * mean:
        linears = shape.linears
    rest = total - outer - layers * sum(x.size for x in linears)
    if not linears or rest < 0:
        return shape
    return replace(
        shape, layers=layers, linears=linears, tied=tied, rest=rest, source=f"weights in {folder}", stored=stored
    )


def _headers(folder: Path) -> tuple[dict[str, list[int]], float]:
    """Sizes of the tensors in a folder's files, and the mean bytes of a number in them."""
    tensors: dict[str, list[int]] = {}
    size, count = 0, 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        tensors |= {name: item["shape"] for name, item in header.items()}
        size += sum(item["data_offsets"][1] - item["data_offsets"][0] for item in header.values())
        count += sum(_product(item["shape"]) for item in header.values())
    return tensors, round(size / count) if count else 0


def _product(size: list[int]) -> int:
    result = 1
    for part in size:
        result *= part
    return result


TYPICAL = (
    # billions, layers, hidden, heads, key heads, inner, vocabulary
    (0.135, 30, 576, 9, 3, 1536, 49152), (0.5, 24, 896, 14, 2, 4864, 151936), (1.5, 28, 1536, 12, 2, 8960, 151936),
    (3.0, 36, 2048, 16, 2, 11008, 151936), (7.0, 32, 4096, 32, 32, 11008, 32000),
    (13.0, 40, 5120, 40, 40, 13824, 32000),
    (33.0, 60, 6656, 52, 52, 17920, 32000), (65.0, 80, 8192, 64, 64, 22016, 32000),
    (72.0, 80, 8192, 64, 8, 29568, 152064), (110.0, 80, 8192, 64, 8, 49152, 152064),
)  # fmt: skip
"""Shapes of published models, for estimates from a size alone."""


def shape_of_size(size: str, name: str) -> Shape:
    """A typical shape for a size as people write it (`7B`, `0.5B`, `135M`, `8x7B`).

    Raises:
        RequestError: it is no size.
    """
    found = re.fullmatch(r"(?:(\d+)x)?(\d+(?:\.\d+)?)\s*([bBmM])", size.strip())
    if not found:
        raise RequestError(f"{size!r} is no size", where="model_name_or_path", fix="write 7B, 0.5B or 135M")
    billions = int(found[1] or 1) * float(found[2]) * (1 if found[3] in "bB" else 1e-3)
    near = min(TYPICAL, key=lambda row: abs(row[0] - billions) / row[0])
    _, layers, hidden, heads, groups, inner, vocabulary = near
    scale = (billions / near[0]) ** (1 / 3)  # depth and width grow together
    wide = max(int(hidden * scale) // 64 * 64, 64)
    config = {
        "hidden_size": wide, "num_hidden_layers": max(round(layers * scale), 1), "num_attention_heads": heads,
        "num_key_value_heads": groups, "head_dim": wide // heads, "intermediate_size": int(inner * scale) // 64 * 64,
        "vocab_size": vocabulary, "tie_word_embeddings": billions < 2,
    }  # fmt: skip
    made = shape_of_config(config, f"the size of {name} ({size}); a typical shape")
    # The parameters are those that the size says.
    return replace(made, rest=max(int(billions * 1e9) - made.parameters + made.rest, made.rest))
