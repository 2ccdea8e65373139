"""A judged answer in its context: the template writes prompt and answer as it does for supervised fine-tuning, and the
length rules bound them together. What the encoders of preferences and of feedback share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugtune.data.encoding import Dropped
from plugtune.data.lengths import share
from plugtune.data.records import RowError, TokenizedChat


def last_turn(chat: TokenizedChat) -> tuple[list[int], list[int]]:
    """Ids of everything before the last answer, and of that answer with what closes it."""
    *history, (prompt, answer) = chat.turns
    return [token for part in history for ids in part for token in ids] + prompt, answer + chat.tail


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """What happens when a prompt and its answers are longer than `cutoff`; `policy` is `cut`, `drop` or `error`.

    `cut` shares the room between the prompt and the longest answer in proportion, as LLaMA-Factory does in its
    pairwise and feedback stages, so that existing runs are reproduced token by token.
    """

    cutoff: int
    policy: str = "cut"

    def fit(self, prompt: list[int], answers: Sequence[list[int]]) -> list[list[int]] | Dropped | RowError:
        """The prompt and the answers, each as much of it as fits."""
        longest = max(len(answer) for answer in answers)
        total = len(prompt) + longest
        if total <= self.cutoff:
            kept_prompt, kept_answer = len(prompt), longest
        elif self.policy == "drop":
            return Dropped(f"longer than cutoff_len {self.cutoff} (long_rows: drop)")
        elif self.policy == "error":
            return RowError(
                f"prompt and answer have {total} tokens and cutoff_len is {self.cutoff}",
                fix="raise cutoff_len, or choose long_rows cut or drop",
            )
        else:
            kept_prompt, kept_answer = share(len(prompt), longest, self.cutoff)
        parts = [prompt[:kept_prompt], *(answer[:kept_answer] for answer in answers)]
        return parts if all(parts) else Dropped("no prompt or no answer is left")
