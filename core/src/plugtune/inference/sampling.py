"""How one answer is drawn: the settings of a request. Imports no machine-learning library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of one answer; every request of a batch has its own.

    Attributes:
        max_new_tokens: longest answer, in tokens.
        temperature: 0 takes the likeliest token.
        top_p: keep the likeliest tokens up to this mass (arXiv:1904.09751).
        top_k: keep the k likeliest tokens; 0 keeps all.
        repetition_penalty: above 1 makes tokens of the prompt and the answer less likely (arXiv:1909.05858).
        presence_penalty, frequency_penalty: subtracted from the logits of the answer's tokens, once and per
            occurrence.
        logit_bias: added to the logit of a token.
        seed: of the drawing of this answer; `None` takes one from torch's global generator.
        stop: texts that end the answer; they are not part of it.
        ignore_eos: go on past the tokens that end an answer.
        logprobs: `None`, or how many of the likeliest tokens are told with each token's log-probability. These are of
            the model's own distribution, before temperature and the other settings.
        skip_special_tokens: leave special tokens out of the text.
    """

    max_new_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    skip_special_tokens: bool = True

    @classmethod
    def of(cls, options: Any, **changes: Any) -> Sampling:
        """The settings that `GenerationOptions` stand for."""
        values: dict[str, Any] = {
            "max_new_tokens": options.max_new_tokens,
            "temperature": options.temperature if options.do_sample else 0.0,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "repetition_penalty": options.repetition_penalty,
            "skip_special_tokens": options.skip_special_tokens,
        }
        return cls(**{**values, **changes})

    @property
    def plain(self) -> bool:
        """Whether the next token is simply the likeliest one."""
        return self.temperature == 0 and not self.changes_logits

    @property
    def changes_logits(self) -> bool:
        """Whether logits are changed before a token is taken."""
        return bool(
            self.repetition_penalty != 1.0 or self.presence_penalty or self.frequency_penalty or self.logit_bias
        )
