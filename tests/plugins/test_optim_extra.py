"""Each optimizer does what its paper says to the weights, and a run with it can be saved and resumed."""

from __future__ import annotations

import copy

import pytest
import torch
from plugtune.capabilities import load_ref
from plugtune.errors import RequestError
from plugtune.options.reader import read_request
from plugtune.training.planner import make_plan
from transformers import AutoModelForCausalLM, TrainingArguments

LIBRARY = {
    "galore": "galore_torch",
    "apollo": "apollo_torch",
    "muon": "torch",
    "badam": "torch",
    "adam-mini": "adam_mini",
}


@pytest.fixture
def model(model_dir):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)


def arguments(tmp_path):
    return TrainingArguments(output_dir=str(tmp_path), learning_rate=1e-2, weight_decay=0.0, use_cpu=True)


def built(host, name, model, tmp_path, **options):
    pytest.importorskip(LIBRARY[name])
    item = host.catalog.get("optimizer", name)
    return load_ref(item.build)(model, arguments(tmp_path), item.options(**options))


def step(model, optimizer) -> None:
    ids = torch.arange(5, 25).unsqueeze(0)
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def change(host, name, model, tmp_path, **options) -> dict[str, torch.Tensor]:
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    step(model, built(host, name, model, tmp_path, **options))
    return {n: p.detach() - before[n] for n, p in model.named_parameters()}


def test_galore_changes_target_matrices_by_its_rank_only(host, model, tmp_path):
    changed = change(host, "galore", model, tmp_path, use_galore=True, galore_target=["q_proj"], galore_rank=3)
    q, up = changed["model.layers.0.self_attn.q_proj.weight"], changed["model.layers.0.mlp.up_proj.weight"]
    assert torch.linalg.matrix_rank(q, rtol=1e-3) == 3
    assert torch.linalg.matrix_rank(up, rtol=1e-3) > 3


def test_apollo_moves_along_the_gradient_with_one_scale_a_channel(host, model, tmp_path):
    reference = copy.deepcopy(model)
    ids = torch.arange(5, 25).unsqueeze(0)
    reference(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    changed = change(host, "apollo", model, tmp_path, use_apollo=True, apollo_rank=4)
    name = "model.layers.1.mlp.up_proj.weight"
    gradient = dict(reference.named_parameters())[name].grad
    ratio = changed[name] / gradient
    spread = [(ratio.std(dim) / ratio.mean(dim).abs()).max() for dim in (0, 1)]
    assert min(spread) < 1e-3, "along one side the ratio is constant"


def test_muon_gives_matrices_updates_of_nearly_equal_singular_values(host, model, tmp_path):
    reference = copy.deepcopy(model)
    ids = torch.arange(5, 25).unsqueeze(0)
    reference(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    changed = change(host, "muon", model, tmp_path, use_muon=True)
    name = "model.layers.0.self_attn.o_proj.weight"
    step, gradient = (torch.linalg.svdvals(m) for m in (changed[name], dict(reference.named_parameters())[name].grad))
    assert step[7] / step[0] > 0.7, "the eighth of them is as large as the first"
    assert gradient[7] / gradient[0] < 0.5, "which the gradient's is not"
    assert changed["model.norm.weight"].abs().max() == pytest.approx(1e-2, rel=1e-2), "the rest takes an Adam step"


def moved(model, before: dict[str, torch.Tensor]) -> set[str]:
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def weights(model) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("mode", "start", "turns"), [("ascending", None, "0101"), ("descending", None, "1010"), ("ascending", 1, "1010"),
                                 ("fixed", 1, "1111")]
)  # fmt: skip
def test_badam_changes_one_layer_at_a_time_in_turn(host, model, tmp_path, mode, start, turns):
    optimizer = built(host, "badam", model, tmp_path, use_badam=True, badam_switch_mode=mode, badam_start_block=start,
                      badam_switch_interval=2)  # fmt: skip
    for turn in turns:
        for _ in range(2):
            before = weights(model)
            asked = {n for n, p in model.named_parameters() if p.requires_grad}
            step(model, optimizer)
            assert moved(model, before) == asked
            assert asked == {n for n, _ in model.named_parameters() if n.startswith(f"model.layers.{turn}.")}
            assert sum(len(s) > 0 for s in optimizer.state.values()) in (0, len(asked)), "one layer's states, no more"


def test_badam_within_a_block_is_adamw(host, model, tmp_path):
    plain = copy.deepcopy(model)
    own = [p for n, p in plain.named_parameters() if n.startswith("model.layers.0.")]
    reference = torch.optim.AdamW(own, lr=1e-2, weight_decay=0.0)
    optimizer = built(host, "badam", model, tmp_path, use_badam=True, badam_switch_interval=10)
    for _ in range(3):
        step(model, optimizer)
        step(plain, reference)
        plain.zero_grad()
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6), name


def test_adam_mini_gives_each_head_and_neuron_one_rate(host, model, tmp_path):
    plain = copy.deepcopy(model)
    ids = torch.arange(5, 25).unsqueeze(0)
    plain(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    gradients = dict(plain.named_parameters())
    changed = change(host, "adam-mini", model, tmp_path, use_adam_mini=True)
    for name, rows in (("model.layers.0.self_attn.q_proj.weight", 8), ("model.layers.0.mlp.up_proj.weight", 1)):
        gradient = gradients[name].grad.view(-1, rows * 32)
        expected = -1e-2 * gradient / gradient.square().mean(1, keepdim=True).sqrt()
        assert torch.allclose(changed[name].view_as(expected), expected, rtol=1e-3, atol=1e-7), name


@pytest.mark.parametrize("name", LIBRARY)
def test_a_restored_optimizer_goes_on_to_the_same_weights(host, model, tmp_path, name):
    optimizer = built(host, name, model, tmp_path)
    step(model, optimizer)
    twin = copy.deepcopy(model).requires_grad_(True)
    other = built(host, name, twin, tmp_path)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    torch.manual_seed(3)
    step(model, optimizer)
    torch.manual_seed(3)
    step(twin, other)
    for one, two in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--use_galore true --use_muon true --finetuning_type full", "exclude each other"),
        ("--use_muon true --finetuning_type lora", "does not go with method lora"),
        ("--use_muon true --finetuning_type full --fsdp true", "does not go with fsdp"),
        ("--use_muon true --finetuning_type full --galore_rank x", None),
    ],
)
def test_what_does_not_go_together_is_refused(host, flags, message):
    request = read_request(f"--do_train --model_name_or_path m --dataset d --output_dir o {flags}".split())
    if message is None:
        assert any("galore_rank" in note for note in make_plan(request, host).notes)
        return
    with pytest.raises(RequestError, match=message):
        make_plan(request, host)
