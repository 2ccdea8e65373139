"""What a run needs, in closed form and by part. Bytes throughout; imports no library, knows no machine.

The peak of a training step is the largest of a few moments: loading, the start of the backward pass (all activations
and the logits), its end (all gradients), and the optimizer's step. Activations are counted tensor by tensor as autograd
keeps them in a pre-norm decoder block, after Korthikanti et al. 2022 (arXiv:2205.05198), section 4, with this project's
own batches: no padding, attention within rows (no T × T matrix unless attention is eager), logits only where trained
on and a chunk at a time (`training.cross_entropy`). `bench/memory.py` compares with measured peaks; the table is in
docs/estimate.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from plugtune.modeling.shape import Shape

OPTIMIZERS = {
    "adamw": 8.0, "adam": 8.0, "adafactor": 0.02, "sgd": 0.0, "rmsprop": 4.0, "adagrad": 4.0, "lion": 4.0,
    "ademamix": 12.0, "stable_adamw": 8.0, "schedule_free": 8.0, "apollo": 1.0, "galore": 2.0, "lomo": 0.0,
    "adalomo": 0.02, "grokadamw": 12.0,
}  # fmt: skip
"""Optimizer → bytes of state for a trained parameter, in fp32."""

LOGITS_BLOCK = 2**24
"""Logits that the loss computes at a time (`training.cross_entropy.BLOCK`); 8 bytes each with their gradients."""

IMPORTS = 568 << 20
"""Resident memory of a training process without its model: torch, transformers, datasets, peft, their threads and
code (measured: a run of a model of next to no parameters, the first row of docs/estimate.md)."""

HOLES = 1.2
STOCK_HOLES = 1.4
"""On a CPU: bytes that tensors which are freed between kept ones leave behind in the heap, for each byte of theirs; a
GPU's allocator gives such room again. Measured, not derived. Under a lean adapted linear layer they are the queries and
keys before they are rotated, and both parts' answers before they are added to the stream; under one of the stock form
(`STOCK_HOLES`) they are its products."""


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
        stored: bytes of a weight in its file; 0 when that is not known.
        before: models of this size that are read before training and let go.
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
    stored: float = 0
    before: float = 0
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
    # A 4-bit layer computes in the dtype of the weights beside it, whatever autocast says.
    product = 4.0 if setting.mixed and setting.bits == 4 else c
    hidden, inner = shape.hidden, shape.inner
    # The input, and the normalized one if the scale is trained; a lean norm keeps its input only.
    norms = 2 * hidden * wide * (2 if trained.whole and setting.shard else 1)
    if not setting.mixed and setting.weight_bytes == 2:
        norms += 2 * hidden * 4  # norms are computed in fp32
    kept = 1.0 if trained.whole else trained.inputs
    lean = keeps_less(setting)
    # Query, key and value layers keep a 16-bit copy of their input each; lean adapters and gated blocks share one.
    copies = 1 if not setting.mixed or (lean and not trained.whole) else 3
    inputs = kept * c * hidden * (copies + (1 if not setting.mixed or lean else 2))
    # Queries, keys, values and the output; the output again for its projection, where that computes in 16 bits. On a
    # CPU what was rotated and the output are in fp32 (`training.row_attention`).
    inside = 4.0 if setting.imports else product
    attention = (
        inside * (shape.queries * 2 + shape.keys)
        + product * shape.keys
        + (c * shape.queries if setting.mixed or not setting.imports else 0)
    )
    if setting.eager:
        attention += (c + 4) * shape.heads * setting.longest
    # Gate, its activation and up are kept for their product, which is the last layer's input; a lean block keeps two.
    stock = product * (3 if shape.gated else 1) + c * kept
    return norms + inputs + attention + inner * (product * 2 if shape.gated and lean else stock)


def keeps_less(setting: Setting) -> bool:
    """Whether adapters and gated blocks take their lean forms (`training.lean`): not quantized, not cut up."""
    return setting.bits is None and setting.shard == 0


def holes(shape: Shape, trained: Trained, setting: Setting) -> float:
    """What adapters of one block leave behind in a CPU's heap for one token."""
    if trained.whole or not setting.imports:
        return 0.0
    if keeps_less(setting):
        return HOLES * 4.0 * trained.inputs * (shape.queries + shape.keys + 2 * shape.hidden)
    product = 2.0 if (setting.mixed and setting.bits != 4) or setting.weight_bytes == 2 else 4.0
    return STOCK_HOLES * product * trained.inputs * sum(linear.outputs * linear.count for linear in shape.linears)


def narrowed(trained: Trained, setting: Setting) -> bool:
    """Whether frozen linear layers are kept in the 16 bits that they are computed in (`methods.frozen_linears_in`)."""
    return setting.mixed and not trained.whole and setting.bits is None


def resident(shape: Shape, trained: Trained, setting: Setting) -> int:
    """Weights of the model that is trained, with the copies that stand beside them.

    On a CPU a weight in its file's own dtype is a view of the file, which stays mapped, whole, as long as one does;
    with 16-bit products beside frozen weights no view of a wider file is left.
    """
    base = model_bytes(shape, setting)
    linears, outside = shape.layers * shape.block, shape.embedding + shape.head + shape.rest
    thin = narrowed(trained, setting)
    stored = setting.stored or setting.weight_bytes
    size = 2 * linears + setting.weight_bytes * outside if thin else base
    if setting.imports and thin and stored == 2:
        size = stored * shape.parameters + setting.weight_bytes * outside
    elif setting.imports and setting.bits and not setting.mixed and stored == setting.weight_bytes:
        size = stored * shape.parameters + linear_bytes(setting) * linears
    own = trained.parameters - trained.adapters
    wider = own * max(setting.trained_bytes - setting.weight_bytes, 0)
    return int(size + setting.trained_bytes * trained.adapters + wider)


def estimate(shape: Shape, trained: Trained, setting: Setting) -> Estimate:
    """Memory of a run on one device."""
    split = [1.0, 1.0, 1.0]  # optimizer, gradients, weights
    for stage in range(min(setting.shard, 3)):
        split[stage] = float(setting.world)
    base = model_bytes(shape, setting)
    others = int((setting.frozen + setting.critics) * base / split[2])
    cache = cache_bytes(shape, setting)
    drawing = cache + 8 * shape.vocabulary * 4
    if not setting.training:
        moments = {"generating": setting.imports + base + others + drawing}
        return Estimate(base, 0, 0, 0, 0, 0, cache, others, setting.imports, moments)
    weights = int(resident(shape, trained, setting) / split[2])
    count = trained.parameters * (1 + setting.critics)
    gradients = int(setting.trained_bytes * count / split[1])
    optimizer = int(optimizer_bytes(setting.optimizer) * count * setting.trained_bytes / 4 / split[0])
    one_block, activations = _activations(shape, trained, setting)
    casts = _casts(shape, trained, setting) if setting.mixed else 0
    c = 2 if setting.mixed or setting.weight_bytes == 2 else 4
    logits = 8 * min(setting.targets * shape.vocabulary, max(LOGITS_BLOCK, shape.vocabulary))
    kept = setting.imports + weights + others + optimizer
    # A CPU's heap keeps what gradients took, and the next batch's activations find no room in it.
    held = gradients if setting.accumulation > 1 or setting.imports else 0
    head = (c if setting.imports else 4 + c) * shape.embedding if trained.head else 0
    transient = 2 * c * shape.inner * setting.tokens
    moments = {
        "loading": setting.imports + weights + _read_beside(shape, trained, setting),
        "the loss": kept + held + activations + casts + logits + head,
        "backward, last layers": kept + gradients + int(one_block) + transient + (
            4 * shape.embedding if trained.embeddings else 0
        ),
        "the optimizer's step": kept + gradients,
    }  # fmt: skip
    if setting.cached_tokens:
        moments["sampling answers"] = kept + drawing
    if setting.before:
        moments["reading the reference"] = setting.imports + weights + int(setting.before * base) + logits
    return Estimate(weights, gradients, optimizer, activations, logits, casts, cache, others, setting.imports, moments)


def _read_beside(shape: Shape, trained: Trained, setting: Setting) -> int:
    """The file beside the weights while they are converted; weights in their file's dtype are views of it."""
    converted = setting.stored and (setting.stored != setting.weight_bytes or narrowed(trained, setting))
    return int(setting.stored * shape.parameters) if setting.imports and converted else 0


def cache_bytes(shape: Shape, setting: Setting) -> int:
    """Keys and values of all blocks for the tokens that are kept while answers are generated."""
    return int(2 * shape.layers * shape.keys * (2 if setting.weight_bytes == 2 else 4) * setting.cached_tokens)


def _activations(shape: Shape, trained: Trained, setting: Setting) -> tuple[float, int]:
    """What one block keeps for a batch, and what is kept when the backward pass begins."""
    one_block = block_bytes(shape, trained, setting) * setting.tokens
    left = holes(shape, trained, setting) * setting.tokens
    if not setting.checkpointing:
        return one_block, int(trained.blocks * (one_block + left))
    wide = 4 if setting.mixed or setting.weight_bytes == 4 else 2
    inputs = shape.layers * shape.hidden * wide * setting.tokens
    return one_block, int(inputs + one_block + shape.layers * left)


def _casts(shape: Shape, trained: Trained, setting: Setting) -> int:
    """16-bit copies of weights that autocast makes once for a pass and keeps for its backward part."""
    linear = 0 if setting.bits or narrowed(trained, setting) else trained.blocks * shape.block
    return 2 * (linear + shape.embedding + trained.adapters)
