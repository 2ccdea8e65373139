"""Adam-mini (arXiv:2406.16793) through its authors' package: one learning rate for each head, neuron or token."""

from __future__ import annotations

from typing import Any


def adam_mini(model: Any, arguments: Any, options: Any) -> Any:
    """Adam with one second moment for each block of weights that the paper's partition makes."""
    from adam_mini import Adam_mini

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config() if hasattr(base.config, "get_text_config") else base.config
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    optimizer = Adam_mini(
        list(model.named_parameters()), lr=arguments.learning_rate,
        betas=(arguments.adam_beta1, arguments.adam_beta2), eps=arguments.adam_epsilon,
        weight_decay=arguments.weight_decay, dim=config.hidden_size, n_heads=heads, n_kv_heads=kv_heads, verbose=False,
    )  # fmt: skip
    # The package takes heads to be hidden size / heads wide, which many models' are not.
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    optimizer.head_numel = width * config.hidden_size
    return optimizer
