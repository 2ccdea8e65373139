"""Rewards that are easy to earn, for tests: each function is named as `toy_rewards:NAME`."""

from __future__ import annotations

from typing import Any

GOOD = 65
"""The token that `share` pays for."""


def share(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Share of tokens with a number below 150."""
    return [sum(token < 150 for token in ids) / len(ids) for ids in completion_ids]


def short(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """1 for an answer of four tokens, less for others."""
    return [-abs(len(ids) - 4) / 4 for ids in completion_ids]


def broken(**_: Any) -> list[float]:
    """Fails."""
    raise ValueError("no idea")


def too_few(**_: Any) -> list[float]:
    """One score, whatever it is asked."""
    return [1.0]


def one_infinite(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Infinite for one prompt, no number for none."""
    return [float("inf") if "Question 3?" in prompt else 1.0 for prompt in prompts]


def nothing(completion_ids: list[list[int]], **_: Any) -> list[Any]:
    """What a function gives that forgot to return a score."""
    return [None] * len(completion_ids)


def not_a_number(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """No number at all."""
    return [float("nan")] * len(completion_ids)
