"""Moves a model's output head into its loss, where it is computed a chunk of positions at a time.

The model's own forward pass stays: while a deferred pass runs, the head hands its input through, and the loss function
applies it (`training.cross_entropy`). That works under every wrapper (peft, DistributedDataParallel), because nothing
is called past them. A model is asked first whether its logits are just its head's output; one that scales or caps
them, or whose head is wrapped by an adapter, keeps its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

from plugtune.modeling.alike import shortened
from plugtune.training.cross_entropy import head_cross_entropy
from plugtune.training.trials import Kernel

IGNORE = -100
_deferred: ContextVar[bool] = ContextVar("plugtune_deferred_head", default=False)


@contextmanager
def deferred() -> Iterator[None]:
    """While it lasts, models with a deferred head return hidden states as logits, and the loss applies the head."""
    token = _deferred.set(True)
    try:
        yield
    finally:
        _deferred.reset(token)


@dataclass(frozen=True, slots=True)
class HeadOrInput:
    """A head's forward pass. An object, not a closure, so that a deep copy of a model computes with its own weights."""

    own: Callable[[torch.Tensor], torch.Tensor]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The input itself in a deferred pass, else the head's answer to it."""
        return input if _deferred.get() else self.own(input)


class DeferredLoss:
    """A causal language model's `loss_function`: next-token cross-entropy over hidden states.

    Args:
        head: the output head.
        own: the model's own loss function, for passes that are not deferred.
        smoothing: label smoothing.
        fused: a kernel of `fused_head` for 16-bit products.
    """

    def __init__(self, head: torch.nn.Linear, own: Any, smoothing: float, fused: Kernel | None = None) -> None:
        self.head, self.own, self.smoothing, self.fused = head, own, smoothing, fused

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        vocab_size: int | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        ignore_index: int = IGNORE,
        shift_labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Arguments as transformers hands them; `logits` are hidden states `(B, T, size)` in a deferred pass."""
        if not _deferred.get():
            answer: torch.Tensor = self.own(
                logits, labels, vocab_size=vocab_size, num_items_in_batch=num_items_in_batch,
                ignore_index=ignore_index, shift_labels=shift_labels, **kwargs,
            )  # fmt: skip
            return answer
        if shift_labels is None:
            shift_labels = torch.nn.functional.pad(labels, (0, 1), value=ignore_index)[..., 1:]
        targets = shift_labels.reshape(-1).to(logits.device)
        hidden = logits.reshape(-1, logits.shape[-1])
        trained = targets != ignore_index
        if not bool(trained.all()):
            hidden, targets = hidden[trained], targets[trained]
        divisor = num_items_in_batch if num_items_in_batch is not None else trained.sum()
        divisor = torch.as_tensor(divisor, device=hidden.device, dtype=torch.float32)
        if self.fused is not None and len(targets):
            return self._by_kernel(self.fused, hidden, targets) / divisor
        return head_cross_entropy(hidden, self.head.weight, self.head.bias, targets, divisor, self.smoothing)

    def _by_kernel(self, kernel: Kernel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        device, bias = hidden.device.type, self.head.bias
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            narrow = None if bias is None else bias.to(dtype)
            loss: torch.Tensor = kernel.run(hidden.to(dtype), self.head.weight.to(dtype), narrow, targets)
            return loss.float()


def defer_head(
    model: Any, smoothing: float = 0.0, fused: Callable[[torch.nn.Linear], Kernel | None] | None = None
) -> bool:
    """Let the model's loss compute its head in chunks, if that is the same for it; says whether it is.

    Args:
        model: a causal language model, or a `peft.PeftModel` around one.
        smoothing: label smoothing that the loss applies.
        fused: gives the kernel for a head, if there is one.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    if type(head) is not torch.nn.Linear or not hasattr(type(base), "loss_function"):
        return False
    own_forward, own_loss = head.forward, base.loss_function
    head.forward = HeadOrInput(own_forward).forward  # type: ignore[method-assign]
    with shortened(base) as shorter:
        same = shorter and _head_is_last(base, head)
    if not (same or _head_is_last(base, head)):
        head.forward = own_forward  # type: ignore[method-assign]
        return False
    base.loss_function = DeferredLoss(head, own_loss, smoothing, fused(head) if fused is not None else None)
    return True


@torch.no_grad()
def _head_is_last(model: Any, head: torch.nn.Linear) -> bool:
    """Whether the logits are the head's output and nothing else; not, when the model cannot be asked."""
    was_training = model.training
    model.eval()
    try:
        vocabulary = model.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[7 % vocabulary, 3, 5, 2]], device=head.weight.device)
        logits = model(input_ids=ids, use_cache=False).logits
        with deferred():
            hidden = model(input_ids=ids, use_cache=False).logits
        again = head(hidden)
        return again.shape == logits.shape and bool(torch.allclose(again, logits, rtol=1e-4, atol=1e-5))
    except (TypeError, ValueError, RuntimeError, KeyError, NotImplementedError, AttributeError):
        return False
    finally:
        model.train(was_training)
