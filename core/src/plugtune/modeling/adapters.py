"""Several adapters on one base: switching between them, and a frozen copy of one. What reference and reward need."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from plugtune.errors import RequestError

TRAINED = "default"
"""The name under which the method's plugin keeps the adapter in training."""


def has_adapters(model: Any) -> bool:
    """Whether adapters can be switched on this model (`peft.PeftModel`)."""
    return hasattr(model, "peft_config") and hasattr(model, "disable_adapter")


@contextmanager
def using(model: Any, adapter: str) -> Iterator[None]:
    """While it lasts, another adapter is active; the one before, and its gradients, come back unchanged."""
    before = model.active_adapter
    model.set_adapter(adapter)
    try:
        yield
    finally:
        model.set_adapter(before)


def load_frozen(model: Any, folder: Path, name: str, *, where: str) -> None:
    """Put a trained adapter beside the one in training, switched off and frozen.

    Raises:
        RequestError: the folder holds none, or it does not fit the base.
    """
    if not (folder / "adapter_config.json").is_file():
        raise RequestError(
            f"{folder} holds no adapter", where=where, why="there is no adapter_config.json",
            fix=f"give an adapter folder, or the kind of model that {folder} is",
        )  # fmt: skip
    try:
        model.load_adapter(str(folder), adapter_name=name, is_trainable=False)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise RequestError(
            f"adapter {folder} does not fit the model", where=where, why=str(error).split("\n")[0],
            fix="it must have been trained on the same base model",
        ) from error  # fmt: skip
    _settle(model)


def copy_frozen(model: Any, name: str) -> None:
    """A frozen copy of the adapter in training as it is now, under another name."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    state = {
        key: value.detach().clone() for key, value in get_peft_model_state_dict(model, adapter_name=TRAINED).items()
    }
    config = copy.deepcopy(model.peft_config[TRAINED])
    config.init_lora_weights = True  # the values come from the copy; PiSSA's way would change the base again
    config.inference_mode = True
    model.add_adapter(name, config)
    set_peft_model_state_dict(model, state, adapter_name=name)
    _settle(model)


def _settle(model: Any) -> None:
    """Every adapter but the one in training is frozen, and only that one is saved."""
    model.set_adapter(TRAINED)
    model.save_pretrained = partial(type(model).save_pretrained, model, selected_adapters=[TRAINED])


@torch.no_grad()
def changes_nothing(model: Any) -> bool:
    """Whether the adapter in training still computes what the base computes (a new one does)."""
    was_training = model.training
    model.eval()
    try:
        ids = torch.tensor([[3, 5, 2, 7]], device=next(model.parameters()).device)
        with_adapter = model(input_ids=ids, use_cache=False).logits
        with model.disable_adapter():
            without = model(input_ids=ids, use_cache=False).logits
        return bool(torch.equal(with_adapter, without))
    finally:
        model.train(was_training)


def split_adapters(adapters: Sequence[Path], *, new: bool) -> tuple[list[Path], Path | None]:
    """Adapters to merge, and the one to go on with: the last, unless a new one is wanted."""
    if not adapters or new:
        return list(adapters), None
    return list(adapters[:-1]), adapters[-1]


def open_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """A trained adapter on a model.

    Raises:
        RequestError: the folder holds none, or it does not fit.
    """
    from peft import PeftModel

    if not (folder / "adapter_config.json").is_file():
        raise RequestError(
            f"{folder} holds no adapter", where="adapter_name_or_path", why="there is no adapter_config.json"
        )
    try:
        return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise RequestError(
            f"adapter {folder} does not fit the model", where="adapter_name_or_path", why=str(error).split("\n")[0],
            fix="give the base model that it was trained on",
        ) from error  # fmt: skip
