"""Loads a ready model: layout, dtype, attention, rope scaling, quantization, GGUF, new vocabulary rows."""

from __future__ import annotations

import math
import pickle
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.errors import RequestError
from plugtune.modeling.layout import open_layout
from plugtune.modeling.locate import check_weights, pickled_only
from plugtune.modeling.request import ModelRequest
from plugtune.modeling.zero import shape_of, whole

ATTENTION = {
    "auto": None,
    "disabled": "eager",
    "eager": "eager",
    "sdpa": "sdpa",
    "fa2": "flash_attention_2",
    "fa3": "flash_attention_3",
}


def load_model(request: ModelRequest, host: Any) -> Any:
    """The model of a request; a plugin's `plugtune_load_model` answer wins.

    Raises:
        RequestError: the weights are broken, a package is outside of the family's range, or the library refuses them;
            keeps the cause.
    """
    check_weights(request.located.folder)
    open_layout(request.located.family)
    model = host.hook.plugtune_load_model(request=request)
    if model is None:
        try:
            model = _load_gguf(request) if request.located.gguf_file else _load(request)
        except pickle.UnpicklingError as error:
            raise RequestError(
                "the pickled weights hold more than tensors", where=str(request.located.folder),
                why="loading them could run code", fix="use a checkpoint with safetensors",
            ) from error  # fmt: skip
        except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
            raise RequestError(
                "the model cannot be loaded", where=str(request.located.folder),
                why=f"{type(error).__name__}: {error}".split("\n")[0],
            ) from error  # fmt: skip
    for patch in request.located.family.patches if request.located.family else ():
        load_ref(patch)(model)
    guard_quantized(model)
    _grow_vocabulary(model, request)
    if request.training:
        model.config.use_cache = False
    return model


def _load(request: ModelRequest) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    options, folder = request.options, str(request.located.folder)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=options.trust_remote_code)
    _scale_rope(config, options.rope_scaling)
    settings: dict[str, Any] = {
        "config": config,
        "dtype": getattr(torch, request.dtype),
        "trust_remote_code": options.trust_remote_code,
    }
    if ATTENTION[options.flash_attn]:
        settings["attn_implementation"] = ATTENTION[options.flash_attn]
    if options.train_from_scratch:
        settings.pop("config")
        return AutoModelForCausalLM.from_config(config, **settings)
    if options.quantization_bit:
        settings["quantization_config"] = _quantization(request)
        settings["device_map"] = {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"}
    # Pickled weights are read as tensors only (`weights_only`), and only where there are no safetensors.
    settings |= {"use_safetensors": not pickled_only(request.located.folder), "weights_only": True}
    return AutoModelForCausalLM.from_pretrained(folder, **settings)


def _load_gguf(request: ModelRequest) -> Any:
    """A GGUF checkpoint as a plain model: what the library returns counts as quantized and could not be saved."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, request.dtype)
    read = AutoModelForCausalLM.from_pretrained(
        str(request.located.folder), gguf_file=request.located.gguf_file, dtype=dtype
    )
    config = read.config.__class__(
        **{k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "_name_or_path", "dtype")}
    )
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    return model


def _quantization(request: ModelRequest) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    options = request.options
    if options.quantization_bit == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=options.quantization_type,
        bnb_4bit_use_double_quant=options.double_quantization,
        bnb_4bit_compute_dtype=getattr(torch, request.dtype),
        bnb_4bit_quant_storage=torch.uint8,
    )


def guard_quantized(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on the first evaluation (CPUs with AVX512-BF16).

    After that repacking gradients are silently wrong and merging gives garbage (measured with bitsandbytes 0.50).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _scale_rope(config: Any, kind: str | None) -> None:
    if kind is None:
        return
    length = int(getattr(config, "max_position_embeddings", 2048))
    scaling = {"rope_type": kind, "factor": 2.0}
    if kind == "llama3":
        scaling |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": length}
    if kind in ("yarn", "dynamic"):
        scaling["original_max_position_embeddings"] = length
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta") or getattr(config, "rope_theta", 10000.0)
    config.rope_parameters = {"rope_theta": theta, **scaling}
    config.max_position_embeddings = math.ceil(length * 2.0)


def _grow_vocabulary(model: Any, request: ModelRequest) -> None:
    import torch

    embeddings = model.get_input_embeddings().weight
    have, want = shape_of(embeddings)[0], request.vocabulary
    asked = request.options.resize_vocab or request.options.add_tokens or request.options.add_special_tokens
    if not want or want <= have:
        return
    if not asked:
        raise RequestError(
            f"the tokenizer has {want} tokens and the embeddings {have} rows", where=str(request.located.folder),
            fix="add --resize_vocab true, or use the model's own tokenizer",
        )  # fmt: skip
    # New rows start near the mean of the old ones, with noise so that they can be told apart.
    model.resize_token_embeddings(want, pad_to_multiple_of=64, mean_resizing=False)
    generator = torch.Generator().manual_seed(0)
    layers = {id(e.weight): e for e in (model.get_input_embeddings(), model.get_output_embeddings()) if e is not None}
    with torch.no_grad(), whole([layer.weight for layer in layers.values()], changed=True):
        for layer in layers.values():
            weight = layer.weight
            mean = weight[:have].mean(0, keepdim=True)
            noise = torch.randn(weight[have:].shape, generator=generator).to(weight) / math.sqrt(weight.shape[1])
            weight[have:] = mean + noise
