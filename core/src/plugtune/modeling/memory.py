"""What a run needs, in closed form and by part, and what this machine has. Bytes throughout; imports no library.

The peak of a training step is the largest of a few moments: loading, the start of the backward pass (all activations
and the logits), its end (all gradients), and the optimizer's step. Activations are counted tensor by tensor as autograd
keeps them in a pre-norm decoder block, after Korthikanti et al. 2022 (arXiv:2205.05198), section 4, with this project's
own batches: no padding, attention within rows (no T × T matrix unless attention is eager), logits only where trained
on and a chunk at a time (`training.cross_entropy`). `bench/memory.py` compares with measured peaks; the table is in
docs/estimate.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from plugtune.modeling.shape import Shape

OPTIMIZERS = {
    "adamw": 8.0, "adam": 8.0, "adafactor": 0.02, "sgd": 0.0, "rmsprop": 4.0, "adagrad": 4.0, "lion": 4.0,
    "ademamix": 12.0, "stable_adamw": 8.0, "schedule_free": 8.0, "apollo": 1.0, "galore": 2.0, "lomo": 0.0,
    "adalomo": 0.02, "grokadamw": 12.0,
}  # fmt: skip
"""Optimizer → bytes of state for a trained parameter, in fp32."""

LOGITS_BLOCK = 2**24
"""Logits that the loss computes at a time (`training.cross_entropy.BLOCK`); 8 bytes each with their gradients."""

IMPORTS = 555 << 20
"""Resident memory of a training process before a model is loaded: torch, transformers, datasets, peft (measured)."""

HEAP_MIXED, HEAP_WIDE, HEAP_AGAIN, HEAP_WEIGHTS = 1.2, 1.65, 8, 0.15
"""On a CPU: resident memory of activations over their own size (16-bit products, fp32, one block that is computed
again), and what is left over beside weights. The C library's heap keeps freed blocks below 32 MB, and the larger
blocks of fp32 leave larger gaps (measured with glibc; a GPU's allocator keeps far less)."""


def optimizer_bytes(name: str) -> float:
    """Bytes of optimizer state for a trained parameter; AdamW's when the optimizer is not known."""
    plain = name.lower().removeprefix("paged_")
    found = next((size for word, size in OPTIMIZERS.items() if plain.startswith(word)), None)
    if found is None:
        found = next((size for word, size in OPTIMIZERS.items() if word in plain), 8.0)
    if "8bit" in plain:
        return found / 4
    return found / 8 if "4bit" in plain else found


@dataclass(frozen=True, slots=True)
class Trained:
    """What a tuning method trains, as `TuningMethod.sizes` answers.

    Attributes:
        parameters: trained parameters, adapters included.
        adapters: those of them that stand beside the model's own weights.
        blocks: blocks that the backward pass goes through.
        whole: whether the weights of those blocks' linear layers are trained themselves.
        embeddings, head: whether those matrices are trained.
        inputs: share of the linear layers whose inputs are kept because something beside them is trained.
    """

    parameters: int
    adapters: int = 0
    blocks: int = 0
    whole: bool = True
    embeddings: bool = False
    head: bool = False
    inputs: float = 1.0


@dataclass(frozen=True, slots=True)
class Setting:
    """How a run computes.

    Attributes:
        tokens: tokens of a batch on one device, padding included; `targets` of them are trained on.
        longest: longest row; only eager attention depends on it.
        weight_bytes: bytes of a weight; `bits` (4 or 8) when linear layers are quantized.
        trained_bytes: bytes of a trained weight and of its gradient.
        mixed: whether matrix products are in 16 bits over wider weights.
        checkpointing: activations are recomputed in the backward pass.
        eager: attention keeps its T × T matrix.
        optimizer: name of the optimizer.
        accumulation: batches for one step; from 2 on gradients stay while the next batch is computed.
        world: devices; `shard` says what is split over them: 0 nothing, 1 optimizer states, 2 gradients too,
            3 weights too.
        frozen: further frozen models in memory (a reference, a reward model), each as large as this one.
        critics: further trained models of this size.
        cached_tokens: tokens whose keys and values are kept while answers are generated.
        imports: resident memory of the process itself; 0 on a GPU.
    """

    tokens: int
    targets: int
    longest: int = 0
    weight_bytes: float = 4
    trained_bytes: float = 4
    bits: int | None = None
    double_quantization: bool = True
    mixed: bool = False
    checkpointing: bool = False
    eager: bool = False
    optimizer: str = "adamw_torch"
    accumulation: int = 1
    world: int = 1
    shard: int = 0
    frozen: float = 0
    critics: float = 0
    cached_tokens: int = 0
    imports: int = 0
    training: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by part, on one device, and the moment that needs most."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    casts: int = 0
    cache: int = 0
    others: int = 0
    imports: int = 0
    moments: dict[str, int] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        """Bytes of the moment that needs most."""
        return max(self.moments.values())

    @property
    def moment(self) -> str:
        """That moment."""
        return max(self.moments, key=lambda name: self.moments[name])

    @property
    def total(self) -> int:
        """The peak; kept under its first name."""
        return self.peak

    def parts(self) -> dict[str, int]:
        """Bytes by part, for tables."""
        return {
            "weights": self.weights, "other models": self.others, "gradients": self.gradients,
            "optimizer": self.optimizer, "activations": self.activations, "16-bit copies": self.casts,
            "logits": self.logits, "key-value cache": self.cache, "process": self.imports,
        }  # fmt: skip


def linear_bytes(setting: Setting) -> float:
    """Bytes of a weight of a linear layer; NF4 keeps a constant for each 64 weights (arXiv:2305.14314, section 3)."""
    if setting.bits == 4:
        return 0.5 + (0.127 / 8 if setting.double_quantization else 4 / 64)
    return 1.0 if setting.bits == 8 else setting.weight_bytes


def model_bytes(shape: Shape, setting: Setting) -> int:
    """Weights of one model."""
    outside = shape.embedding + shape.head + shape.rest
    return int(shape.layers * shape.block * linear_bytes(setting) + outside * setting.weight_bytes)


def block_bytes(shape: Shape, trained: Trained, setting: Setting) -> float:
    """What autograd keeps of one block for one token.

    With 16-bit products over fp32 weights the residual stream and the norms stay in fp32, and each linear layer keeps a
    16-bit copy of its input of its own.
    """
    wide = 4.0 if setting.mixed else max(setting.weight_bytes, 2.0)
    c = 2.0 if setting.mixed or setting.weight_bytes == 2 else 4.0
    hidden, inner = shape.hidden, shape.inner
    norms = 2 * hidden * wide * (2 if trained.whole else 1)  # the input, and the normalized one if the scale is trained
    if not setting.mixed and setting.weight_bytes == 2:
        norms += 2 * hidden * 4  # norms are computed in fp32
    kept = 1.0 if trained.whole else trained.inputs
    times = 3 if setting.mixed else 1
    inputs = kept * c * hidden * (times + (2 if setting.mixed else 1))
    # Queries, keys, values and the output, in fp32 on a CPU where that is faster; the output again, for its projection.
    inside = 4.0 if setting.imports else c
    attention = inside * (shape.queries * 2 + shape.keys * 2) + c * shape.queries
    if setting.eager:
        attention += (c + 4) * shape.heads * setting.longest
    # Gate, its activation and up are kept for their product; the product is the input of the last layer.
    mlp = c * inner * ((3 if shape.gated else 1) + kept)
    return norms + inputs + attention + mlp


def estimate(shape: Shape, trained: Trained, setting: Setting) -> Estimate:
    """Memory of a run on one device."""
    split = [1.0, 1.0, 1.0]  # optimizer, gradients, weights
    for stage in range(min(setting.shard, 3)):
        split[stage] = float(setting.world)
    base = model_bytes(shape, setting)
    own = trained.parameters - trained.adapters
    wider = own * max(setting.trained_bytes - setting.weight_bytes, 0)
    weights = int((base + setting.trained_bytes * trained.adapters + wider) / split[2])
    others = int((setting.frozen + setting.critics) * base / split[2])
    cache = 2 * shape.layers * shape.keys * (2 if setting.weight_bytes == 2 else 4) * setting.cached_tokens
    if not setting.training:
        moments = {"generating": setting.imports + weights + others + cache + 4 * shape.vocabulary * 8}
        return Estimate(weights, 0, 0, 0, 0, 0, cache, others, setting.imports, moments)
    count = trained.parameters * (1 + setting.critics)
    gradients = int(setting.trained_bytes * count / split[1])
    optimizer = int(optimizer_bytes(setting.optimizer) * count * setting.trained_bytes / 4 / split[0])
    one_block = block_bytes(shape, trained, setting) * setting.tokens
    wide = 4 if setting.mixed or setting.weight_bytes == 4 else 2
    if setting.checkpointing:
        activations = int(shape.layers * shape.hidden * wide * setting.tokens)
        activations += int(one_block * (HEAP_AGAIN if setting.imports else 1))
    else:
        heap = HEAP_MIXED if setting.mixed else HEAP_WIDE
        activations = int(trained.blocks * one_block * (heap if setting.imports else 1))
    casts = _casts(shape, trained, setting) if setting.mixed else 0
    c = 2 if setting.mixed or setting.weight_bytes == 2 else 4
    logits = 8 * min(setting.targets * shape.vocabulary, max(LOGITS_BLOCK, shape.vocabulary))
    head_gradient = (4 + c) * shape.embedding if trained.head else 0
    loose = int(HEAP_WEIGHTS * weights) if setting.imports else 0
    kept = setting.imports + loose + weights + others + optimizer
    held = gradients if setting.accumulation > 1 else 0
    transient = 2 * c * shape.inner * setting.tokens
    moments = {
        "loading": setting.imports + base * (2 if setting.imports and setting.bits is None else 1),
        "the loss": kept + held + activations + casts + logits + head_gradient,
        "backward, last layers": kept + gradients + int(one_block) + transient + (
            4 * shape.embedding if trained.embeddings else 0
        ),
        "the optimizer's step": kept + gradients,
    }  # fmt: skip
    return Estimate(
        weights, gradients, optimizer, activations, logits, casts, 0, others, setting.imports + loose, moments
    )  # fmt: skip


def _casts(shape: Shape, trained: Trained, setting: Setting) -> int:
    """16-bit copies of weights that wait for the backward pass."""
    blocks = 1 if setting.checkpointing else trained.blocks
    linear = 0 if setting.bits else blocks * shape.block + 0
    return 2 * (linear + shape.embedding + trained.adapters)


def machine() -> tuple[int, str]:
    """Bytes that this machine can still give a run, and where: its GPU's memory when `nvidia-smi` names one."""
    gpu = _gpu()
    return gpu if gpu is not None else (free_memory(), "this machine's memory")


def _gpu() -> tuple[int, str] | None:
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=memory.free,name", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
        free, _, name = lines[0].partition(",")
        return int(free) << 20, name.strip()
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def free_memory() -> int:
    """Bytes that are free or can be freed, within the limit of a container."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
        maximum = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        if maximum.isdigit():
            limits.append(max(int(maximum) - used, 0))
    except (OSError, ValueError):
        pass
    return min(limits)


def available_memory() -> int:
    """Bytes that the device of a run can still give: the GPU's free memory, else this machine's."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else free_memory()
