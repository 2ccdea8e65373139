"""What happens to rows longer than `cutoff_len`, and which tokens are trained on.

`cut` gives prompt and answer of each turn their share of the room, in proportion, as LLaMA-Factory does (its
`infer_seqlen`), so that existing runs are reproduced token by token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plugtune.data.encoding import Dropped, EncodedRow, EncodeOutcome
from plugtune.data.records import RowError, TokenizedChat

IGNORE = -100


@dataclass(frozen=True, slots=True)
class LengthRules:
    """The data options that decide lengths and masks."""

    cutoff: int
    policy: str = "cut"
    train_on_prompt: bool = False
    mask_history: bool = False


def share(source: int, target: int, room: int) -> tuple[int, int]:
    """How many tokens of a prompt and of its answer fit into `room`.

    A short answer is kept whole and the prompt gives way; a short prompt is kept whole and the answer gives way; two
    long ones share in proportion.
    """
    if target * 2 < room:
        most_target = room
    elif source * 2 < room:
        most_target = room - source
    else:
        most_target = int(room * (target / (source + target)))
    kept_target = min(most_target, target)
    return min(max(room - kept_target, 0), source), kept_target


def assemble(chat: TokenizedChat, rules: LengthRules) -> EncodeOutcome:
    """Token rows of a conversation under the rules."""
    total = sum(len(p) + len(a) for p, a in chat.turns) + len(chat.tail)
    if total <= rules.cutoff:
        return _checked(_join(chat, rules, list(range(len(chat.turns)))), total)
    return _POLICIES[rules.policy](chat, rules, total)


def _error(chat: TokenizedChat, rules: LengthRules, total: int) -> EncodeOutcome:
    return RowError(
        f"the row has {total} tokens and cutoff_len is {rules.cutoff}",
        fix="raise cutoff_len, or choose long_rows cut, drop or split",
    )


def _drop(chat: TokenizedChat, rules: LengthRules, total: int) -> EncodeOutcome:
    return Dropped(f"longer than cutoff_len {rules.cutoff} (long_rows: drop)")


def _split(chat: TokenizedChat, rules: LengthRules, total: int) -> EncodeOutcome:
    """A row for each run of turns that fits; a turn that alone is too long is cut."""
    groups: list[list[int]] = [[]]
    used = 0
    for index, (prompt, answer) in enumerate(chat.turns):
        size = len(prompt) + len(answer)
        if groups[-1] and used + size + len(chat.tail) > rules.cutoff:
            groups.append([])
            used = 0
        groups[-1].append(index)
        used += size
    rows: list[EncodedRow] = []
    for group in groups:
        part = TokenizedChat(
            [chat.turns[i] for i in group],
            [_is_trained(chat, i) for i in group],
            chat.tail if group is groups[-1] else [],
        )
        outcome = _cut(part, rules, sum(len(p) + len(a) for p, a in part.turns) + len(part.tail))
        if isinstance(outcome, list):
            rows += outcome
    return rows or Dropped("no trained token is left after splitting")


def _cut(chat: TokenizedChat, rules: LengthRules, total: int) -> EncodeOutcome:
    order = range(len(chat.turns))
    used = len(chat.tail)
    kept: dict[int, tuple[int, int]] = {}
    for index in reversed(order) if rules.mask_history else order:
        if used >= rules.cutoff:
            break
        prompt, answer = chat.turns[index]
        kept[index] = share(len(prompt), len(answer), rules.cutoff - used)
        used += sum(kept[index])
    turns = sorted(kept)
    shorter = TokenizedChat(
        [(chat.turns[i][0][: kept[i][0]], chat.turns[i][1][: kept[i][1]]) for i in turns],
        [_is_trained(chat, i) for i in turns],
        chat.tail,
    )
    return _checked(_join(shorter, rules, list(range(len(turns)))), total)


_POLICIES: dict[str, Callable[[TokenizedChat, LengthRules, int], EncodeOutcome]] = {
    "cut": _cut,
    "drop": _drop,
    "split": _split,
    "error": _error,
}


def _is_trained(chat: TokenizedChat, index: int) -> bool:
    return chat.trained[index] if chat.trained else True


def _join(chat: TokenizedChat, rules: LengthRules, turns: list[int]) -> tuple[list[int], list[int]]:
    ids: list[int] = []
    labels: list[int] = []
    last = turns[-1] if turns else -1
    for index in turns:
        prompt, answer = chat.turns[index]
        ids += prompt + answer
        if rules.train_on_prompt:
            labels += prompt
        elif chat.tail and index != 0 and prompt:
            # A template that closes once: the model still learns to end each answer.
            labels += [chat.tail[0]] + [IGNORE] * (len(prompt) - 1)
        else:
            labels += [IGNORE] * len(prompt)
        trained = _is_trained(chat, index) and not (rules.mask_history and index != last)
        labels += answer if trained else [IGNORE] * len(answer)
    return ids + chat.tail, labels + chat.tail


def _checked(row: tuple[list[int], list[int]], total: int) -> EncodeOutcome:
    ids, labels = row
    if labels.count(IGNORE) - (labels[:1] == [IGNORE]) == max(len(labels) - 1, 0):
        return Dropped("no trained token is left")
    return [EncodedRow({"input_ids": ids, "labels": labels}, cut_tokens=total - len(ids))]
