"""A second model that a run only reads: the reference or the reward model of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.errors import PlugtuneError, RequestError
from plugtune.modeling.load import load_model
from plugtune.modeling.locate import Located, locate
from plugtune.modeling.methods import MethodContext
from plugtune.modeling.request import ModelRequest
from plugtune.options.groups import ModelOptions


def find_frozen(name: str, plan_options: ModelOptions, host: Any, *, where: str) -> Located:
    """Where the model is that an option names.

    Raises:
        RequestError: there is none; the message names the option.
    """
    try:
        return locate(replace(plan_options, model_name_or_path=name), host.catalog)
    except PlugtuneError as error:
        raise RequestError(f"{where} {name} cannot be used", where=where, why=str(error)) from error


def load_frozen_model(
    name: str,
    host: Any,
    plan_options: ModelOptions,
    *,
    where: str,
    adapters: Sequence[str] = (),
    bits: int | None = None,
    dtype: str = "float32",
    vocabulary: int = 0,
) -> tuple[Any, list[Path]]:
    """A model in evaluation mode with all weights frozen, and the folders it came from, the last adapter first.

    Args:
        name: folder, hub id or name of a model.
        host: the plugin host.
        plan_options: the run's model options; cache folder, tokens and attention are shared.
        where: the option that named it, for errors.
        adapters: adapter folders to put on it.
        bits: quantize it on loading.
        dtype: of its weights.
        vocabulary: of the run's tokenizer, where the model reads words that the run has added; 0 for one of its own.

    Raises:
        RequestError: the model or an adapter is wrong.
    """
    located = find_frozen(name, plan_options, host, where=where)
    options = replace(
        plan_options, model_name_or_path=name, adapter_name_or_path=list(adapters), quantization_bit=bits,
        train_from_scratch=False,
    )  # fmt: skip
    if not vocabulary:
        options = replace(options, resize_vocab=False, add_tokens=[], add_special_tokens=[])
    model = load_model(ModelRequest(located, options, dtype, vocabulary), host)
    folders = [Path(adapter) for adapter in adapters]
    if folders:
        method = next(m for m in host.catalog.all("method") if m.saves_adapter)
        context = MethodContext(method.options(), options, located.family, folders, training=False)
        model = load_ref(method.prepare)(model, context)
    model.requires_grad_(False)
    model.eval()
    return model, [*reversed(folders), located.folder]
