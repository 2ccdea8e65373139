"""Merging a LoRA adapter into a bf16 model of some gigabytes: `plugtune export` against peft, taking turns.

    python bench/merge.py [--gigabytes 3 12] [--rounds 1] [--no-peer] [--json FILE]

The model is a LLaMA with random weights, written shard by shard so that making it needs little memory too. Figures:
wall and processor time of whole processes and the largest resident memory (of it, pages of the mapped input can be
given back at any time); and whether all tensors are equal to the bit.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from peers import environment, smollm2
from processes import Spent, spend
from record import OURS, Measurement, Result, provenance
from report import lines
from safetensors import safe_open
from safetensors.torch import save_file

HIDDEN, FEED, HEADS, KV, VOCABULARY, RANK, SHARD = 2048, 5632, 32, 8, 32000, 16, 900e6
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

PEFT = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from peft import PeftModel
base, adapter, out = sys.argv[1:4]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
model = PeftModel.from_pretrained(model, adapter)
model.merge_and_unload().save_pretrained(out, max_shard_size="1GB")
AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""


def layer_shapes() -> dict[str, tuple[int, int]]:
    """Linear layers of a block."""
    size = HIDDEN // HEADS
    return {
        "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (KV * size, HIDDEN),
        "self_attn.v_proj": (KV * size, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (FEED, HIDDEN), "mlp.up_proj": (FEED, HIDDEN), "mlp.down_proj": (HIDDEN, FEED),
    }  # fmt: skip


def make_model(folder: Path, gigabytes: float) -> int:
    """Write the checkpoint; returns its number of blocks."""
    shapes = layer_shapes()
    block = 2 * (sum(math.prod(s) for s in shapes.values()) + 2 * HIDDEN)
    layers = max(1, round((gigabytes * 1e9 - 2 * 2 * VOCABULARY * HIDDEN) / block))
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(smollm2() / name, folder / name)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "vocab_size": VOCABULARY,
        "intermediate_size": FEED, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "num_key_value_heads": KV, "dtype": "bfloat16", "tie_word_embeddings": False, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048, "hidden_act": "silu",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    names: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for n in range(layers):
        names |= {f"model.layers.{n}.{name}.weight": shape for name, shape in shapes.items()}
        norms = ("input_layernorm", "post_attention_layernorm")
        names |= {f"model.layers.{n}.{name}.weight": (HIDDEN,) for name in norms}
    names |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}
    _write_shards(folder, names)
    return layers


def _write_shards(folder: Path, names: dict[str, tuple[int, ...]]) -> None:
    generator = torch.Generator().manual_seed(0)
    groups: list[list[str]] = [[]]
    used = 0.0
    for name, shape in names.items():
        size = 2 * math.prod(shape)
        if groups[-1] and used + size > SHARD:
            groups.append([])
            used = 0.0
        groups[-1].append(name)
        used += size
    index = {}
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        tensors = {n: (torch.randn(names[n], generator=generator) * 0.02).bfloat16() for n in group}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        index.update(dict.fromkeys(group, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def make_adapter(folder: Path, base: Path, layers: int) -> None:
    """A LoRA adapter with random weights over every linear layer, in bf16."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for n in range(layers):
        for name, (out, size) in layer_shapes().items():
            key = f"base_model.model.model.layers.{n}.{name}"
            tensors[f"{key}.lora_A.weight"] = (torch.randn(RANK, size, generator=generator) * 0.02).bfloat16()
            tensors[f"{key}.lora_B.weight"] = (torch.randn(out, RANK, generator=generator) * 0.02).bfloat16()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK, "bias": "none",
              "target_modules": list(TARGETS), "base_model_name_or_path": str(base),
              "inference_mode": True}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def tensors_equal(one: Path, two: Path) -> bool:
    """Whether two checkpoints hold the same tensors, bit by bit."""
    where = [{k: f for f in folder.glob("*.safetensors") for k in safe_open(f, "pt").keys()} for folder in (one, two)]  # noqa: SIM118
    if where[0].keys() != where[1].keys():
        return False
    for name in where[0]:
        left, right = (safe_open(files[name], "pt").get_tensor(name) for files in where)
        if left.dtype != right.dtype or not torch.equal(left, right):
            return False
    return True


def compare(folder: Path, gigabytes: float, rounds: int, peer: bool) -> list[Measurement]:
    """The sides in turns, on a model of a size."""
    base, adapter = folder / "base", folder / "adapter"
    make_adapter(adapter, base, make_model(base, gigabytes))
    places = {OURS: folder / "ours", **({"peft": folder / "peft"} if peer else {})}
    commands = {
        OURS: [sys.executable, "-m", "plugtune", "export", "--model_name_or_path", str(base),
               "--adapter_name_or_path", str(adapter), "--export_dir", str(places[OURS]), "--export_size", "1"],
        "peft": [sys.executable, "-c", PEFT, str(base), str(adapter), str(folder / "peft")],
    }  # fmt: skip
    runs: dict[str, list[Spent]] = {side: [] for side in places}
    for _ in range(rounds):
        for side, place in places.items():
            shutil.rmtree(place, ignore_errors=True)
            runs[side].append(spend(commands[side], environment()))
    shard = max(file.stat().st_size for file in base.glob("*.safetensors")) / 1e6
    same = (f"tensors equal to the bit: {'yes' if tensors_equal(*places.values()) else 'NO'}",) if peer else ()
    notes = (f"largest shard of the input {shard:,.0f} MB", *same)
    peaks = {side: [run.peak_mb for run in every] for side, every in runs.items()}
    title = f"Merging LoRA into {gigabytes:g} GB of bf16"
    return [
        Measurement(title, unit, "lower", {s: [getattr(r, field) for r in e] for s, e in runs.items()}, peaks, notes)
        for field, unit in (("wall_s", "seconds"), ("cpu_s", "processor seconds"))
    ]


def fits(gigabytes: float) -> bool:
    """Whether peft, which holds the whole model, has the memory for it, with a quarter to spare."""
    from plugtune.modeling.machine import available_memory

    return 1.25 * gigabytes * 1e9 + 1e9 < available_memory()


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[3])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: list[Measurement] = []
    for gigabytes in args.gigabytes:
        with tempfile.TemporaryDirectory() as folder:
            needed, free = 3.2e9 * gigabytes, shutil.disk_usage(folder).free
            if needed > free:
                print(f"{gigabytes:g} GB left out: {needed / 1e9:.0f} GB of disk needed in {folder}, "
                      f"{free / 1e9:.0f} free", file=sys.stderr)  # fmt: skip
                continue
            peer = not args.no_peer and fits(gigabytes)
            measured = compare(Path(folder), gigabytes, args.rounds, peer)
        found += measured
        for measurement in measured:
            print("\n".join(lines(measurement)), flush=True)
        if args.json:
            Result("merge", provenance(), tuple(found)).write(args.json)


if __name__ == "__main__":
    main()
