"""Old names and what they meant: LLaMA-Factory of 2024, and trainer fields that transformers 5 removed.

Each alias turns `(value)` into new names and values, with a note for the user where the meaning is not simply the same.
Values are still as given (text or YAML scalars); they are checked later under their new name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from plugtune.options.coerce import FALSE, TRUE


@dataclass(frozen=True, slots=True)
class Alias:
    """What an old name becomes. An empty mapping means that the option is accepted and has no effect."""

    convert: Callable[[Any], Mapping[str, Any]]
    note: str = ""


def _rename(new: str, note: str = "") -> Alias:
    return Alias(lambda value: {new: value}, note)


def _ignore(why: str) -> Alias:
    return Alias(lambda value: {}, why)


def _truth(value: Any) -> bool:
    word = str(value).strip().lower()
    return word in TRUE or (word not in FALSE and bool(value))


def _when_true(**new: Any) -> Alias:
    return Alias(lambda value: dict(new) if _truth(value) else {})


def _flash_attn(value: Any) -> Mapping[str, Any]:
    word = str(value).strip().lower()
    return {"flash_attn": "fa2" if word in TRUE else "auto" if word in FALSE else value}


ALIASES: dict[str, Alias] = {
    # LLaMA-Factory of the tutorial's time
    "name_module_trainable": _rename("freeze_trainable_modules"),
    "num_layer_trainable": _rename("freeze_trainable_layers"),
    "dpo_beta": _rename("pref_beta"),
    "dpo_loss": _rename("pref_loss"),
    "dpo_ftx": _rename("pref_ftx"),
    "sft_packing": _rename("packing"),
    "cache_path": _rename("tokenized_path"),
    "reserved_label_len": _ignore("the cut of long rows keeps answers in proportion, so nothing is reserved"),
    "lora_bf16_mode": _rename("pure_bf16"),
    "ppo_logger": _rename("report_to"),
    "checkpoint_dir": _rename("adapter_name_or_path"),
    "disable_version_checking": _ignore("set DISABLE_VERSION_CHECK=1 instead"),
    "upcast_layernorm": _ignore("weights are kept in fp32 while training unless pure_bf16 is asked for"),
    "data_shared_file_system": _ignore("the cache may be shared by all machines: it is written whole or not at all"),
    "include_effective_tokens_per_second": _ignore("train_tokens_per_second counts real tokens and is always reported"),
    "max_length": _ignore("max_new_tokens bounds the answer"),
    "export_device": _ignore("the merge streams through the CPU"),
    "use_unsloth_gc": _ignore("gradient checkpointing is chosen by plugtune"),
    "ignore_pad_token_for_loss": _ignore("padding is never trained on"),
    "low_cpu_mem_usage": _ignore("weights are always loaded one by one"),
    "use_reentrant_gc": Alias(lambda value: {"gradient_checkpointing_kwargs": {"use_reentrant": _truth(value)}}),
    "eval_num_beams": _rename("num_beams"),
    "use_kv_cache": _ignore("the cache is always used in generation and never in training"),
    # trainer fields that transformers 5 removed
    "evaluation_strategy": _rename("eval_strategy"),
    "warmup_ratio": Alias(
        lambda value: {"warmup_steps": value}, "a fraction of all steps, which warmup_steps now takes below 1"
    ),
    "no_cuda": _rename("use_cpu"),
    "use_mps_device": _ignore("the device is found by itself"),
    "group_by_length": _when_true(train_sampling_strategy="group_by_length"),
    "save_safetensors": _ignore("weights are always safetensors"),
    "include_tokens_per_second": _rename("include_num_input_tokens_seen"),
    "fp16_backend": _ignore("there is one fp16 implementation"),
    "half_precision_backend": _ignore("there is one half-precision implementation"),
    "fp16_opt_level": _ignore("apex is not used"),
    "split_batches": Alias(lambda value: {"accelerator_config": {"split_batches": _truth(value)}}),
    "dispatch_batches": Alias(lambda value: {"accelerator_config": {"dispatch_batches": _truth(value)}}),
    "per_gpu_train_batch_size": _rename("per_device_train_batch_size"),
    "per_gpu_eval_batch_size": _rename("per_device_eval_batch_size"),
    "adafactor": _when_true(optim="adafactor"),
    "push_to_hub_model_id": _rename("hub_model_id"),
    "push_to_hub_organization": _ignore("write the organization into hub_model_id"),
    "push_to_hub_token": _rename("hub_token"),
    "tpu_num_cores": _ignore("set by the launcher"),
    "tpu_metrics_debug": _ignore("removed upstream"),
    "use_legacy_prediction_loop": _ignore("removed upstream"),
    "include_inputs_for_metrics": _ignore("metrics are computed from tokens"),
    "past_index": _ignore("removed upstream"),
    "ray_scope": _ignore("removed upstream"),
    "jit_mode_eval": _ignore("use torch_compile"),
    "use_ipex": _ignore("removed upstream"),
    "overwrite_cache_dir": _rename("overwrite_cache"),
    "fsdp_min_num_params": Alias(lambda value: {"fsdp_config": {"min_num_params": value}}),
    "fsdp_transformer_layer_cls_to_wrap": Alias(
        lambda value: {"fsdp_config": {"transformer_layer_cls_to_wrap": value}}
    ),
    "torchdynamo": _rename("torch_compile_backend"),
    "mp_parameters": _ignore("removed upstream"),
    "debug_mode": _ignore("use --debug"),
    "neftune_alpha": _rename("neftune_noise_alpha"),
    "dataloader_num_proc": _rename("dataloader_num_workers"),
    "adam_bits": _ignore("choose optim instead"),
}

REWRITES: dict[str, Callable[[Any], Mapping[str, Any]]] = {"flash_attn": _flash_attn}
"""Names that stayed while their values changed."""
