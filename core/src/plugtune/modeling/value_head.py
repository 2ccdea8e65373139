"""A value head over a causal language model: one number for each token, from the last hidden states.

Reward models read it at the last token of an answer (arXiv:2203.02155), PPO's critic at every answer token. The head
is a file of its own beside the weights or the adapter, `value_head.safetensors` with the keys `v_head.summary.weight`
and `v_head.summary.bias` that trl and LLaMA-Factory used, so the language model's own files, tied embeddings included,
are written and read as without a head. Knows no stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plugtune.errors import RequestError
from plugtune.training import attention
from plugtune.training.neftune import noisy_rows

FILE = "value_head.safetensors"
OLD_FILE = "value_head.bin"
PREFIX = "v_head."


class ValueHead(nn.Module):
    """One linear layer, hidden size → 1, computed in fp32; no dropout.

    It starts from N(0, 1 / (hidden + 1)) with bias 0, as in arXiv:2009.01325, appendix B.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.summary = nn.Linear(hidden_size, 1)
        nn.init.normal_(self.summary.weight, std=1 / math.sqrt(hidden_size + 1))
        nn.init.zeros_(self.summary.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """`(..., hidden)` → `(...)` fp32."""
        with torch.autocast(hidden.device.type, enabled=False):
            values: torch.Tensor = self.summary(hidden.float()).squeeze(-1)
        return values


@dataclass(frozen=True, slots=True)
class Headed:
    """What a pass gave: `values` `(N,)` fp32 at the asked tokens, `logits` `(K, vocabulary)` if any were asked for."""

    values: torch.Tensor
    logits: torch.Tensor | None = None


class HeadedModel(nn.Module):
    """A language model (or a `peft.PeftModel` over one) with a value head.

    The trunk runs once for both; the language-model head runs only at the tokens whose logits are asked for.
    """

    def __init__(self, model: Any, head: ValueHead) -> None:
        super().__init__()
        self.model = model
        self.v_head = head.to(next(model.parameters()).device)
        make = getattr(model, "plugtune_optimizer", None)
        if make is not None:
            self.plugtune_optimizer = lambda arguments: self._with_head(make(arguments), arguments)

    def _with_head(self, optimizer: Any, arguments: Any) -> Any:
        optimizer.add_param_group({"params": list(self.v_head.parameters()), "lr": arguments.learning_rate})
        return optimizer

    def forward(
        self, *, values_at: torch.Tensor | None = None, logits_at: torch.Tensor | None = None, **inputs: Any
    ) -> Headed:
        """Values, and logits where asked for, at flat positions of a `training.sequences.Layout`.

        Args:
            values_at: `(N,)` int64; `logits_at` when left out.
            logits_at: `(K,)` int64, or nothing: then the language-model head is not computed.
            inputs: the model's inputs, as a `Layout` has them.
        """
        logits, hidden = forward_flat(self.model, inputs, logits_at)
        wanted = values_at if values_at is not None else logits_at
        return Headed(self.v_head(hidden if wanted is None else hidden[wanted]), logits)

    # What trainers ask of a model is the language model's.
    @property
    def config(self) -> Any:
        """The language model's config."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return next(self.model.parameters()).device

    def get_base_model(self) -> Any:
        """The language model without adapters."""
        return base_of(self.model)

    def gradient_checkpointing_enable(self, **settings: Any) -> None:
        """Recompute activations of the language model in the backward pass (the trainer's older name for it)."""
        self.model.gradient_checkpointing_enable(**settings)

    def activation_checkpointing_enable(self, *args: Any, **settings: Any) -> None:
        """Recompute activations of the language model in the backward pass."""
        self.model.activation_checkpointing_enable(*args, **settings)

    def floating_point_ops(self, *args: Any, **kwargs: Any) -> int:
        """The language model's own estimate."""
        return int(self.model.floating_point_ops(*args, **kwargs))


def base_of(model: Any) -> Any:
    """The language model under its adapters, if it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def trunk_of(model: Any) -> nn.Module:
    """The part of a language model that makes hidden states: everything but the head.

    Raises:
        RequestError: the model does not say which part that is.
    """
    base = base_of(model)
    trunk: nn.Module = base.base_model
    if trunk is base:
        raise RequestError(
            f"{type(base).__name__} does not name its trunk, so it cannot carry a value head",
            why="its class sets no base_model_prefix",
        )
    return trunk


def forward_flat(
    model: Any, inputs: dict[str, Any], logits_at: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """One pass: logits `(K, vocabulary)` at flat positions (or none), and all hidden states `(B·T, hidden)`."""
    inputs = {**inputs, "use_cache": False}
    with noisy_rows(inputs), attention.segments() if "cu_seq_lens_q" in inputs else nullcontext():
        if logits_at is None:
            hidden = trunk_of(model)(**inputs)[0]
            return None, hidden.reshape(-1, hidden.shape[-1])
        one_row = "cu_seq_lens_q" in inputs
        with _last_hidden(model) as seen:
            logits = model(**inputs, **({"logits_to_keep": logits_at} if one_row else {})).logits
    logits = logits.reshape(-1, logits.shape[-1])
    return (logits if one_row else logits[logits_at]), seen[-1].reshape(-1, seen[-1].shape[-1])


@contextmanager
def _last_hidden(model: Any) -> Iterator[list[torch.Tensor]]:
    """Collects what the trunk gives while the whole model runs, so that one pass serves both heads."""
    seen: list[torch.Tensor] = []
    handle = trunk_of(model).register_forward_hook(lambda module, args, output: seen.append(output[0]))
    try:
        yield seen
    finally:
        handle.remove()


def hidden_size_of(model: Any) -> int:
    """Width of the hidden states."""
    config = base_of(model).config
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    size = getattr(config, "hidden_size", None)
    return int(size or base_of(model).get_input_embeddings().weight.shape[1])


def save_head(head: ValueHead, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write `value_head.safetensors` into a folder; `state` replaces the head's own when it is sharded."""
    from safetensors.torch import save_file

    values = state if state is not None else head.state_dict()
    tensors = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in values.items()}
    save_file(tensors, str(folder / FILE), metadata={"format": "pt"})


def has_head(folder: Path) -> bool:
    """Whether a folder holds a value head."""
    return (folder / FILE).is_file() or (folder / OLD_FILE).is_file()


def load_head(folder: Path, hidden_size: int, *, where: str) -> ValueHead:
    """The head that a folder holds.

    Args:
        folder: a model or adapter folder.
        hidden_size: of the model that it goes on.
        where: the option that named the folder.

    Raises:
        RequestError: there is none, or it is for another hidden size.
    """
    from safetensors.torch import load_file

    if (folder / FILE).is_file():
        state = load_file(str(folder / FILE))
    elif (folder / OLD_FILE).is_file():
        state = torch.load(folder / OLD_FILE, map_location="cpu", weights_only=True)
    else:
        raise RequestError(
            f"{folder} holds no reward model", where=where, why=f"there is no {FILE}",
            fix="give the output folder of a run with --stage rm",
        )  # fmt: skip
    state = {name.removeprefix(PREFIX): tensor.float() for name, tensor in state.items()}
    head = ValueHead(hidden_size)
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        raise RequestError(
            f"the value head of {folder} does not fit the model", where=where, why=str(error).splitlines()[-1].strip()
        ) from error
    return head


def head_for(model: Any, folders: list[Path], *, where: str) -> tuple[ValueHead, Path | None]:
    """The head of the first folder that holds one, else a new one; and that folder."""
    found = next((folder for folder in folders if has_head(folder)), None)
    size = hidden_size_of(model)
    return (load_head(found, size, where=where) if found else ValueHead(size)), found
