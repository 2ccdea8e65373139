"""Adapted layers and gated blocks in their lean forms compute what peft and transformers compute, and keep less."""

from __future__ import annotations

import copy
from typing import Any

import peft
import pytest
import torch
from plugtune.modeling.methods import frozen_linears_in
from plugtune.training.lean import linear, norm
from plugtune.training.lean.enable import enable
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

SIZES = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 112, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 12, "max_position_embeddings": 64,
}  # fmt: skip
IDS = torch.randint(0, 97, (2, 13), generator=torch.Generator().manual_seed(3))


def model_of(kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**SIZES, **more)).train()


def adapted(model: Any, **more: Any) -> Any:
    torch.manual_seed(1)
    settings = {"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "init_lora_weights": False, **more}
    return peft.get_peft_model(model, peft.LoraConfig(**settings)).train()


def step(model: Any, dtype: torch.dtype | None = None) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients."""
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
    loss.backward()
    return float(loss.detach()), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def lean(model: Any) -> tuple[Any, int]:
    copied = copy.deepcopy(model)
    return copied, enable(copied)


def furthest(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert one.keys() == two.keys()
    return max(float((one[n] - two[n]).abs().max() / one[n].abs().max().clamp(min=1e-12)) for n in one)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "mistral"])
@pytest.mark.parametrize("tuned", ["lora", "full"])
def test_loss_and_gradients_are_the_plain_ones(kind: str, tuned: str) -> None:
    plain = adapted(model_of(kind)) if tuned == "lora" else model_of(kind)
    other, switched = lean(plain)
    assert switched >= 2, "the gated blocks"
    (loss, gradients), (lean_loss, lean_gradients) = step(plain), step(other)
    assert lean_loss == pytest.approx(loss, abs=1e-6)
    assert furthest(gradients, lean_gradients) < 1e-5


def test_biases_are_trained_too() -> None:
    plain = model_of("llama", mlp_bias=True, attention_bias=True)
    other, _ = lean(plain)
    (_, gradients), (_, lean_gradients) = step(plain), step(other)
    assert any(n.endswith("down_proj.bias") for n in lean_gradients)
    assert furthest(gradients, lean_gradients) < 1e-5


def test_under_autocast_gradients_are_as_near_to_the_true_ones_as_the_plain_ones() -> None:
    plain = adapted(model_of("llama"))
    exact, (other, _) = copy.deepcopy(plain), lean(plain)
    _, truth = step(exact)
    _, gradients = step(plain, torch.bfloat16)
    _, lean_gradients = step(other, torch.bfloat16)
    assert all(g.dtype == torch.float32 for g in lean_gradients.values())

    def error(found: dict[str, torch.Tensor]) -> float:
        return float(sum(((found[n] - truth[n]) ** 2).sum() for n in truth)) ** 0.5

    assert error(lean_gradients) < 1.2 * error(gradients)


@pytest.mark.parametrize(
    "settings", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=["dropout", "dora", "bias"]
)
def test_what_is_not_plain_computes_its_own_way(settings: dict[str, Any]) -> None:
    plain = adapted(model_of("llama"), **settings)
    other, _ = lean(plain)
    torch.manual_seed(5)
    loss, gradients = step(plain)
    torch.manual_seed(5)
    lean_loss, lean_gradients = step(other)
    assert lean_loss == pytest.approx(loss, abs=1e-6)
    assert furthest(gradients, lean_gradients) < 1e-5


def test_adapters_can_be_turned_off_changed_and_merged_afterwards() -> None:
    model = adapted(model_of("llama"))
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    other, _ = lean(model)
    for change in (lambda m: m.set_adapter("second"), lambda m: m.set_adapter("default"), lambda m: m.merge_adapter()):
        change(model)
        change(other)
        with torch.no_grad():
            same = torch.allclose(model(input_ids=IDS).logits, other(input_ids=IDS).logits, atol=1e-6)
        assert same
        assert float(other(input_ids=IDS, labels=IDS).loss.detach()) == pytest.approx(
            float(model(input_ids=IDS, labels=IDS).loss.detach()), abs=1e-6
        )
    model.unmerge_adapter()
    other.unmerge_adapter()
    with model.disable_adapter(), other.disable_adapter():
        assert float(other(input_ids=IDS, labels=IDS).loss.detach()) == pytest.approx(
            float(model(input_ids=IDS, labels=IDS).loss.detach()), abs=1e-6
        )


def test_a_hook_on_a_layer_is_called() -> None:
    model, _ = lean(model_of("llama"))
    called = []
    model.model.layers[0].mlp.gate_proj.register_forward_hook(lambda *_: called.append(1))
    step(model)
    assert called


def test_callers_may_write_to_what_a_layer_answers() -> None:
    model, _ = lean(adapted(model_of("llama")))
    layer = model.base_model.model.model.layers[0]
    x = torch.randn(1, 3, 48)
    for part in (layer.mlp, layer.self_attn.q_proj):
        part(x).mul_(2).sum().backward()


def test_a_block_that_limits_its_values_is_left_alone() -> None:
    class Limited(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate_proj, self.up_proj = torch.nn.Linear(8, 16), torch.nn.Linear(8, 16)
            self.down_proj, self.act_fn = torch.nn.Linear(16, 8), torch.nn.SiLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.down_proj(self.act_fn(self.gate_proj(x).clamp(max=7)) * self.up_proj(x))

    assert enable(Limited()) == 0


def kept_bytes(model: Any) -> int:
    """Bytes of distinct tensors that a forward pass keeps for the backward pass, parameters left out."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        (model.get_base_model() if isinstance(model, peft.PeftModel) else model).model(input_ids=IDS)
    return sum(storage.nbytes() for at, storage in kept.items() if at not in parameters)


def test_less_is_kept_for_the_backward_pass() -> None:
    plain = adapted(model_of("llama"))
    other, _ = lean(plain)
    # Of gate, act(gate), up and their product two are left: 2 blocks x 26 tokens x 112 x 2 tensors of 4 bytes.
    assert kept_bytes(plain) - kept_bytes(other) >= 2 * 26 * 112 * 2 * 4


def test_normalisations_keep_their_input_only() -> None:
    """With trained weights the stock ones keep the normalised input, too."""
    plain = model_of("llama")
    other, switched = lean(plain)
    assert switched == 2 * 3 + 1
    norms = copy.deepcopy(plain)
    for one, two in zip(norms.modules(), other.modules(), strict=True):
        if "Norm" in type(one).__name__ and "forward" in vars(two):
            one.forward = norm.LeanNorm(one, one.forward, one.variance_epsilon).forward
    assert kept_bytes(plain) - kept_bytes(norms) >= 5 * 26 * 48 * 4


@pytest.mark.parametrize("tuned", ["lora", "full"])
def test_normalised_inputs_are_made_again_once_instead_of_kept(tuned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = adapted(model_of("llama")) if tuned == "lora" else model_of("llama")
    other, _ = lean(plain)
    kept = kept_bytes(other)
    with monkeypatch.context() as patch:
        patch.setattr(norm, "origin_of", lambda y: None)
        less = kept_bytes(other) - kept
    size, scales = 26 * 48 * 4, 26 * 4
    # Two in each of two layers. The first norm of a model with adapters keeps nothing, since no gradient goes there.
    assert less == (3 * size - scales if tuned == "lora" else 4 * size)
    made = []
    own = norm.normalised
    monkeypatch.setattr(norm, "normalised", lambda *args: made.append(1) or own(*args))
    (loss, gradients), (lean_loss, lean_gradients) = step(plain), step(other)
    assert len(made) == 5 + 4, "forward, and again for attention and for the gated block of each layer"
    assert lean_loss == pytest.approx(loss, abs=1e-6)
    assert furthest(gradients, lean_gradients) < 1e-4


@pytest.mark.parametrize("tuned", ["lora", "full"])
def test_layers_take_no_tokens_at_all(tuned: str) -> None:
    """As an expert that nobody was sent to."""
    model, _ = lean(adapted(model_of("llama")) if tuned == "lora" else model_of("llama"))
    decoder = (model.get_base_model() if tuned == "lora" else model).model.layers[0]
    for part in (decoder.mlp, decoder.self_attn.q_proj, decoder.input_layernorm):
        y = part(torch.zeros(1, 0, 48, requires_grad=True))
        assert y.shape == (1, 0, 48)
        y.sum().backward()


def test_a_normalised_input_that_was_written_to_is_kept() -> None:
    torch.manual_seed(0)
    parts = torch.nn.ModuleList([LlamaRMSNorm(24), torch.nn.Linear(24, 7)])
    x = torch.randn(5, 24)
    found = []
    for normalised, layer in (parts, copy.deepcopy(parts)):
        if found:
            enable(torch.nn.ModuleList([normalised, layer]))
        layer(normalised(x).mul_(3)).square().sum().backward()
        found.append([normalised.weight.grad, layer.weight.grad, layer.bias.grad])
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_normalisation_answers_the_same_to_the_bit_and_has_the_true_gradients(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    stock = LlamaRMSNorm(24, eps=1e-5).to(dtype)
    torch.nn.init.normal_(stock.weight, 1.0, 0.2)
    exact, other = LlamaRMSNorm(24, eps=1e-5).double(), copy.deepcopy(stock)
    exact.load_state_dict(stock.state_dict())
    assert enable(torch.nn.ModuleList([other])) == 1
    x = torch.randn(3, 5, 24, dtype=dtype)
    dy = torch.randn(3, 5, 24, dtype=dtype)
    found = {}
    for name, module in (("stock", stock), ("lean", other), ("exact", exact)):
        own = x.detach().clone().to(next(module.parameters()).dtype).requires_grad_()
        y = module(own) if name != "exact" else exact.weight * own / (own.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        y.backward(dy.to(y.dtype))
        found[name] = [y.detach().double(), own.grad.double(), module.weight.grad.double()]
    assert torch.equal(found["lean"][0], found["stock"][0])
    for lean_one, stock_one, truth in zip(found["lean"], found["stock"], found["exact"], strict=True):
        assert (lean_one - truth).norm() <= max(1.1 * (stock_one - truth).norm(), 1e-6 * truth.norm())


class _Other(LlamaRMSNorm):
    """Normalisations of other kinds: with one more than the weight, with another place for the epsilon, about a mean."""

    def __init__(self, kind: str) -> None:
        super().__init__(24, eps=1e-5)
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "one more":
            return super().forward(x) / self.weight * (1 + self.weight)
        if self.kind == "epsilon outside":
            return self.weight * x / (x.pow(2).mean(-1, keepdim=True).sqrt() + self.variance_epsilon)
        return super().forward(x - x.mean(-1, keepdim=True))


@pytest.mark.parametrize("kind", ["one more", "epsilon outside", "about a mean"])
def test_other_normalisations_are_left_alone(kind: str) -> None:
    assert enable(torch.nn.ModuleList([_Other(kind)])) == 0


def test_what_stands_still_before_the_first_adapter_gets_no_gradient() -> None:
    """Embeddings and the first norm of a model with adapters: their gradient is asked for by nobody."""
    model, _ = lean(adapted(model_of("llama")))
    asked = []
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    own = linear.input_gradient
    x = torch.randn(1, 3, 48)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "input_gradient", lambda *a, **k: asked.append(1) or own(*a, **k))
        layer(x).sum().backward()
        assert not asked
        layer(x.requires_grad_()).sum().backward()
        assert asked


def test_a_copy_of_a_switched_model_computes_with_its_own_weights() -> None:
    model, _ = lean(adapted(model_of("llama")))
    before = float(model(input_ids=IDS, labels=IDS).loss.detach())
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert float(model(input_ids=IDS, labels=IDS).loss.detach()) == before
    assert float(copied(input_ids=IDS, labels=IDS).loss.detach()) != before


@pytest.mark.parametrize("tuned", ["lora", "full"])
def test_recomputation_stops_before_a_layers_last_product(tuned: str) -> None:
    model, _ = lean(adapted(model_of("llama")) if tuned == "lora" else model_of("llama"))
    _, gradients = step(model)
    model.zero_grad(set_to_none=True)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    weights = dict(model.named_parameters())
    applied = {
        name: Applied(next(w for n, w in weights.items() if f"layers.1.mlp.{name}" in n and "lora" not in n))
        for name in ("gate_proj", "down_proj")
    }
    with applied["gate_proj"], applied["down_proj"]:
        _, again = step(model)
    assert applied["gate_proj"].times == 2, "forward, and once more for the backward pass"
    assert applied["down_proj"].times == 1
    assert furthest(gradients, again) < 1e-6


class Applied(TorchDispatchMode):
    """Counts how often a weight is multiplied with as a linear layer's forward pass does."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.times = weight, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            right = args[-1]
            same = right.untyped_storage().data_ptr() == self.weight.untyped_storage().data_ptr()
            self.times += same and right.shape == self.weight.t().shape
        return function(*args, **(kwargs or {}))


def test_layers_of_one_input_share_its_cast() -> None:
    model = adapted(model_of("llama"))
    plain, kept = kept_of_a_batch(model), kept_of_a_batch(lean(model)[0])
    # Two blocks: query, key and value share one 16-bit copy instead of three; gate and up one instead of two.
    assert plain - kept >= 2 * 26 * 48 * 2 * 3


def test_frozen_weights_in_16_bits_beside_wide_adapters_are_switched_too() -> None:
    model = adapted(model_of("llama"))
    frozen_linears_in(model, "bfloat16")
    other, switched = lean(model)
    assert switched == 2 * 10 + 1, "seven adapted layers, the block and two norms of each layer, and the last norm"
    _, gradients = step(model, torch.bfloat16)
    _, lean_gradients = step(other, torch.bfloat16)
    assert furthest(gradients, lean_gradients) < 0.1
    assert kept_of_a_batch(model) - kept_of_a_batch(other) >= 2 * 26 * 112 * 2 * 2


def kept_of_a_batch(model: Any) -> int:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return kept_bytes(model)
