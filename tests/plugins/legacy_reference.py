"""Forward passes of the old families in plain PyTorch over the original tensors, written from their papers and configs.

Nothing of plugtune or transformers is used. `forward(kind, tensors, config, ids)` gives logits `(batch, tokens,
vocabulary)`; gradients flow into `tensors`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

Tensors = dict[str, torch.Tensor]


def rms(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def angles(tokens: int, size: int, base: float) -> torch.Tensor:
    frequency = base ** (-torch.arange(0, size, 2).double() / size)
    return (torch.arange(tokens).double()[:, None] * frequency).float()


def rotate_halves(x: torch.Tensor, base: float = 10000.0) -> torch.Tensor:
    """(…, tokens, size): the first half of each head is rotated against the second."""
    angle = angles(x.shape[-2], x.shape[-1], base)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], dim=-1)


def rotate_pairs(x: torch.Tensor, base: float) -> torch.Tensor:
    """The first half of each head is rotated in adjacent pairs, the rest stays."""
    half = x.shape[-1] // 2
    turned, kept = x[..., :half], x[..., half:]
    angle = angles(x.shape[-2], half, base)
    even, odd = turned[..., 0::2], turned[..., 1::2]
    pairs = torch.stack([even * angle.cos() - odd * angle.sin(), odd * angle.cos() + even * angle.sin()], dim=-1)
    return torch.cat([pairs.flatten(-2), kept], dim=-1)


def split_heads(x: torch.Tensor, size: int) -> torch.Tensor:
    return x.unflatten(-1, (-1, size)).transpose(1, 2)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: Any = None) -> torch.Tensor:
    """Causal; keys and values are repeated for their query heads."""
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    tokens = q.shape[-2]
    scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def chatglm(t: Tensors, c: dict[str, Any], ids: torch.Tensor, training: bool) -> torch.Tensor:
    x, size, eps = t["transformer.embedding.word_embeddings.weight"][ids], c["kv_channels"], c["layernorm_epsilon"]
    rows = [c["num_attention_heads"] * size, *[c["multi_query_group_num"] * size] * 2]
    base = 10000.0 * c.get("rope_ratio", 1)
    for n in range(c["num_layers"]):
        p = f"transformer.encoder.layers.{n}."
        h = rms(x, t[p + "input_layernorm.weight"], eps)
        packed = F.linear(
            h, t[p + "self_attention.query_key_value.weight"], t[p + "self_attention.query_key_value.bias"]
        )
        q, k, v = (split_heads(part, size) for part in packed.split(rows, -1))
        x = x + attention(rotate_pairs(q, base), rotate_pairs(k, base), v) @ t[p + "self_attention.dense.weight"].T
        gate, up = F.linear(
            rms(x, t[p + "post_attention_layernorm.weight"], eps), t[p + "mlp.dense_h_to_4h.weight"]
        ).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, t[p + "mlp.dense_4h_to_h.weight"])
    return rms(x, t["transformer.encoder.final_layernorm.weight"], eps) @ t["transformer.output_layer.weight"].T


def qwen(t: Tensors, c: dict[str, Any], ids: torch.Tensor, training: bool) -> torch.Tensor:
    x, size, eps, tokens = t["transformer.wte.weight"][ids], c["kv_channels"], c["layer_norm_epsilon"], ids.shape[1]
    base, scale = c["rotary_emb_base"], torch.ones(tokens)
    if not training and tokens > c["seq_length"]:
        if c["use_dynamic_ntk"]:
            alpha = max(1, 2 ** math.ceil(math.log2(tokens / c["seq_length"]) + 1) - 1)
            base = base * alpha ** (size / (size - 2))
        if c["use_logn_attn"]:
            scale = torch.tensor([max(1.0, math.log(i, c["seq_length"])) for i in range(1, tokens + 1)])
    for n in range(c["num_hidden_layers"]):
        p = f"transformer.h.{n}."
        packed = F.linear(rms(x, t[p + "ln_1.weight"], eps), t[p + "attn.c_attn.weight"], t[p + "attn.c_attn.bias"])
        q, k, v = (split_heads(part, size) for part in packed.chunk(3, -1))
        q = rotate_halves(q, base) * scale[:, None]
        x = x + attention(q, rotate_halves(k, base), v) @ t[p + "attn.c_proj.weight"].T
        h = rms(x, t[p + "ln_2.weight"], eps)
        x = x + (h @ t[p + "mlp.w1.weight"].T * F.silu(h @ t[p + "mlp.w2.weight"].T)) @ t[p + "mlp.c_proj.weight"].T
    return rms(x, t["transformer.ln_f.weight"], eps) @ t["lm_head.weight"].T


def swiglu(t: Tensors, p: str, h: torch.Tensor) -> torch.Tensor:
    return (F.silu(h @ t[p + "gate_proj.weight"].T) * (h @ t[p + "up_proj.weight"].T)) @ t[p + "down_proj.weight"].T


def alibi(heads: int, tokens: int) -> torch.Tensor:
    """Slopes of arXiv:2108.12409, and for other head counts what its authors' code does."""

    def powers(n: int) -> list[float]:
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    nearest = 2 ** math.floor(math.log2(heads))
    slopes = powers(nearest) + (powers(2 * nearest)[0::2][: heads - nearest] if nearest != heads else [])
    position = torch.arange(tokens)
    return torch.tensor(slopes)[:, None, None] * (position[None, :] - position[:, None])


def baichuan(t: Tensors, c: dict[str, Any], ids: torch.Tensor, training: bool) -> torch.Tensor:
    x, heads, eps = t["model.embed_tokens.weight"][ids], c["num_attention_heads"], c["rms_norm_eps"]
    size, rotates = c["hidden_size"] // heads, "max_position_embeddings" in c
    for n in range(c["num_hidden_layers"]):
        p = f"model.layers.{n}."
        packed = rms(x, t[p + "input_layernorm.weight"], eps) @ t[p + "self_attn.W_pack.weight"].T
        q, k, v = (split_heads(part, size) for part in packed.chunk(3, -1))
        if rotates:
            mixed = attention(rotate_halves(q), rotate_halves(k), v)
        else:
            mixed = attention(q, k, v, alibi(heads, ids.shape[1]))
        x = x + mixed @ t[p + "self_attn.o_proj.weight"].T
        x = x + swiglu(t, p + "mlp.", rms(x, t[p + "post_attention_layernorm.weight"], eps))
    head = t["lm_head.weight"]
    if c["vocab_size"] != 64000 and c["architectures"] != ["BaiChuanForCausalLM"]:
        head = head / head.norm(dim=1, keepdim=True)
    return rms(x, t["model.norm.weight"], eps) @ head.T


def internlm2(t: Tensors, c: dict[str, Any], ids: torch.Tensor, training: bool) -> torch.Tensor:
    x, heads, groups = t["model.tok_embeddings.weight"][ids], c["num_attention_heads"], c["num_key_value_heads"]
    size, eps, base, tokens = c["hidden_size"] // heads, c["rms_norm_eps"], c["rope_theta"], ids.shape[1]
    scaling = c.get("rope_scaling") or {}
    if scaling.get("type") == "dynamic" and tokens > c["max_position_embeddings"]:
        factor = scaling["factor"]
        stretch = factor * tokens / c["max_position_embeddings"] - (factor - 1)
        base = base * stretch ** (size / (size - 2))
    for n in range(c["num_hidden_layers"]):
        p = f"model.layers.{n}."
        packed = rms(x, t[p + "attention_norm.weight"], eps) @ t[p + "attention.wqkv.weight"].T
        packed = packed.unflatten(-1, (groups, heads // groups + 2, size))
        q = packed[..., :-2, :].flatten(2, 3).transpose(1, 2)
        k, v = packed[..., -2, :].transpose(1, 2), packed[..., -1, :].transpose(1, 2)
        x = x + attention(rotate_halves(q, base), rotate_halves(k, base), v) @ t[p + "attention.wo.weight"].T
        h, f = rms(x, t[p + "ffn_norm.weight"], eps), p + "feed_forward."
        x = x + (F.silu(h @ t[f + "w1.weight"].T) * (h @ t[f + "w3.weight"].T)) @ t[f + "w2.weight"].T
    return rms(x, t["model.norm.weight"], eps) @ t["output.weight"].T


def xverse(t: Tensors, c: dict[str, Any], ids: torch.Tensor, training: bool) -> torch.Tensor:
    return llama(t, c, ids, lambda p, n, h: swiglu(t, p + "mlp.", h))


def llama(t: Tensors, c: dict[str, Any], ids: torch.Tensor, mlp: Any) -> torch.Tensor:
    x, eps, size = t["model.embed_tokens.weight"][ids], c["rms_norm_eps"], c["hidden_size"] // c["num_attention_heads"]
    for n in range(c["num_hidden_layers"]):
        p = f"model.layers.{n}."
        h = rms(x, t[p + "input_layernorm.weight"], eps)
        q, k, v = (split_heads(h @ t[f"{p}self_attn.{part}_proj.weight"].T, size) for part in "qkv")
        x = x + attention(rotate_halves(q), rotate_halves(k), v) @ t[p + "self_attn.o_proj.weight"].T
        x = x + mlp(p, n, rms(x, t[p + "post_attention_layernorm.weight"], eps))
    return rms(x, t["model.norm.weight"], eps) @ t["lm_head.weight"].T


def deepseek(t: Tensors, c: dict[str, Any], ids: torch.Tensor, training: bool) -> torch.Tensor:
    def mlp(p: str, n: int, h: torch.Tensor) -> torch.Tensor:
        if n < c["first_k_dense_replace"]:
            return swiglu(t, p + "mlp.", h)
        weights = (h @ t[p + "mlp.gate.weight"].T).softmax(-1)
        best, chosen = weights.topk(c["num_experts_per_tok"], dim=-1)
        gates = torch.zeros_like(weights).scatter(-1, chosen, best)
        mixed = swiglu(t, p + "mlp.shared_experts.", h)
        for expert in range(c["n_routed_experts"]):
            mixed = mixed + gates[..., expert, None] * swiglu(t, f"{p}mlp.experts.{expert}.", h)
        return mixed

    return llama(t, c, ids, mlp)


def yuan(t: Tensors, c: dict[str, Any], ids: torch.Tensor, training: bool) -> torch.Tensor:
    x, eps, heads = t["model.embed_tokens.weight"][ids], c["rms_norm_eps"], c["num_attention_heads"]
    size, bias = c["hidden_size"] // heads, None
    if training and c["reset_attention_mask"]:
        document = (ids == c["eod_token"]).long().cumsum(1) - (ids == c["eod_token"]).long()
        bias = torch.where(document[:, None, :, None] == document[:, None, None, :], 0.0, -math.inf)
    for n in range(c["num_hidden_layers"]):
        p = f"model.layers.{n}."
        h = rms(x, t[p + "input_layernorm.weight"], eps)
        gate = p + "self_attn.lf_gate."
        filtered = h.transpose(1, 2)[..., None]
        for conv in ("conv1", "conv2"):
            filtered = F.conv2d(F.pad(filtered, (0, 0, 1, 0)), t[f"{gate}{conv}.weight"], t[f"{gate}{conv}.bias"])
        filtered = rms(h + filtered[..., 0].transpose(1, 2), t[gate + "output_layernorm.weight"], 1e-6)
        both = torch.cat([filtered @ t[f"{p}self_attn.{part}_proj.weight"].T for part in "qk"], -1)
        q, k = split_heads(both, 2 * size).chunk(2, -1)
        v = split_heads(h @ t[p + "self_attn.v_proj.weight"].T, size)
        x = x + attention(rotate_halves(q), rotate_halves(k), v, bias) @ t[p + "self_attn.o_proj.weight"].T
        h = rms(x, t[p + "post_attention_layernorm.weight"], eps)
        up = F.silu(h @ t[p + "mlp.up_proj.weight"].T)
        x = x + (h @ t[p + "mlp.gate_proj.weight"].T * up) @ t[p + "mlp.down_proj.weight"].T
    return rms(x, t["model.norm.weight"], eps) @ t["model.embed_tokens.weight"].T


FORWARD = {
    "chatglm": chatglm, "qwen": qwen, "baichuan": baichuan, "internlm2": internlm2, "xverse": xverse,
    "deepseek": deepseek, "yuan": yuan,
}  # fmt: skip
"""Model type → its forward pass."""
