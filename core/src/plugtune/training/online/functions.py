"""Reward functions in Python: the user's own code, named by `module:function`. It runs because the user named it.

A function is called as trl calls its reward functions: `function(prompts=[…], completions=[…], completion_ids=[…])`
with texts (prompts with their special tokens, completions without) and token ids, and returns one number for each
completion. It should take `**kwargs`, as more may be added.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from plugtune.errors import RequestError, RunError
from plugtune.training.online.measure import Tokens

RewardFunction = Callable[..., Sequence[float]]


def load_function(name: str, *, where: str) -> RewardFunction:
    """The function that `module:function` names; modules in the current folder are found too.

    Raises:
        RequestError: there is no such module or function; keeps the cause.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not attribute:
        raise RequestError(f"{name!r} names no function", where=where, fix="write module:function")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise RequestError(
            f"reward function {name!r} cannot be imported", where=where, why=f"{type(error).__name__}: {error}",
            fix=f"put {module.partition('.')[0]}.py into the current folder, or install its package",
        ) from error  # fmt: skip
    if not callable(function):
        raise RequestError(f"{name!r} is no function", where=where, why=f"it is a {type(function).__name__}")
    return function


@dataclass(frozen=True, slots=True)
class FunctionReward:
    """Scores with a function of texts and token ids."""

    function: RewardFunction
    tokenizer: Any

    def __call__(self, prompts: Tokens, answers: Tokens) -> torch.Tensor:
        """Scores `(rows,)`.

        Raises:
            RunError: the function fails or gives something else than a number for each answer.
        """
        name = getattr(self.function, "__name__", "reward function")
        try:
            scores = self.function(
                prompts=[self.tokenizer.decode(list(ids)) for ids in prompts],
                completions=[self.tokenizer.decode(list(ids), skip_special_tokens=True) for ids in answers],
                completion_ids=[list(ids) for ids in answers],
            )
            found = list(scores)
        except Exception as error:  # the user's code may raise anything
            raise RunError(f"reward function {name} failed", why=f"{type(error).__name__}: {error}") from error
        return checked(found, len(answers), f"reward function {name}")


class BadScore(RunError):
    """A score that is no finite number; `place` is that of its answer among those that were scored together."""

    place: int = 0


def checked(values: Sequence[Any], rows: int, source: str) -> torch.Tensor:
    """Scores as a tensor.

    Raises:
        RunError: their number is wrong, or one is no finite number (`BadScore`, which knows whose).
    """
    if len(values) != rows:
        raise RunError(f"{source} gave {len(values)} scores for {rows} answers")
    scores = [_number(value) for value in values]
    place = next((place for place, score in enumerate(scores) if not math.isfinite(score)), None)
    if place is not None:
        bad = BadScore(f"{source} gave a score of {values[place]!r}", why="a score must be a finite number")
        bad.place = place
        raise bad
    return torch.tensor(scores, dtype=torch.float32)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
