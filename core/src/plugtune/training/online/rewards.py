"""Scores of sampled answers: from a reward model, an adapter over the policy's base, a server, or a function.

Each source is called with prompts and answers in token ids and gives one number for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from plugtune.data.records import Conversation, Message
from plugtune.errors import RequestError
from plugtune.modeling import adapters
from plugtune.modeling.frozen import find_frozen, load_frozen_model
from plugtune.modeling.value_head import HeadedModel, has_head, head_for, hidden_size_of, load_head
from plugtune.training import attention
from plugtune.training.context import TrainerContext
from plugtune.training.online.functions import FunctionReward, checked, load_function
from plugtune.training.online.measure import Tokens
from plugtune.training.online.server import ServerReward
from plugtune.training.sequences import lay_out

NAME = "reward"


class RewardSource(Protocol):
    """Scores answers."""

    def __call__(self, prompts: Tokens, answers: Tokens) -> torch.Tensor:
        """`(rows,)` fp32 on the CPU, higher being better."""
        ...


@dataclass(frozen=True, slots=True)
class ModelReward:
    """The value head of a reward model at the last token of prompt + answer (arXiv:2203.02155).

    Attributes:
        model: language model and head; the model may be the policy's own under another adapter.
        scope: what must be switched while it scores.
        closing: what the template writes behind the token that ends an answer, as the reward model was trained on it.
        stops: tokens that end an answer.
        at_once: rows in a pass.
    """

    model: HeadedModel
    scope: Callable[[], AbstractContextManager[Any]]
    end_to_end: bool
    pad: int
    closing: Sequence[int]
    stops: frozenset[int]
    at_once: int

    @torch.no_grad()
    def __call__(self, prompts: Tokens, answers: Tokens) -> torch.Tensor:
        """Scores `(rows,)`."""
        rows = [self._row(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        scores = []
        with self.scope():
            for start in range(0, len(rows), self.at_once):
                some = rows[start : start + self.at_once]
                layout = lay_out(some, end_to_end=self.end_to_end, pad=self.pad)
                last = [first + len(row) - 1 for first, row in zip(layout.starts, some, strict=True)]
                device = self.model.device
                inputs = {k: v.to(device) if torch.is_tensor(v) else v for k, v in layout.inputs.items()}
                scores.append(self.model(values_at=torch.tensor(last, device=device), **inputs).values.float().cpu())
        found = torch.cat(scores)
        return checked(found.tolist(), len(found), "the reward model")

    def _row(self, prompt: Sequence[int], answer: Sequence[int]) -> list[int]:
        ended = bool(answer) and answer[-1] in self.stops
        return [*prompt, *answer, *(self.closing if ended else ())]


def closing_tokens(template: Any) -> tuple[list[int], frozenset[int]]:
    """What a template writes behind the token that ends an answer (often a line break), and the ids of such tokens."""
    stops = frozenset(template.stop_token_ids())
    question = Conversation((Message("user", "x"), Message("assistant", "y")))
    chat = template.encode([question])[0]
    ids = [*chat.turns[-1][1], *chat.tail]
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    return ids[end + 1 :], stops


def make_reward(context: TrainerContext, policy: Any, options: Any, *, end_to_end: bool) -> RewardSource:
    """The source that the options name.

    Args:
        context: the run.
        policy: the language model in training; a reward adapter is put on it.
        options: `ScoringOptions` of the stage.
        end_to_end: whether the policy takes rows laid end to end.

    Raises:
        RequestError: it does not exist or does not fit.
    """
    return _MAKERS[options.reward_model_type](context, policy, options, end_to_end)


def _adapter(context: TrainerContext, policy: Any, options: Any, end_to_end: bool) -> RewardSource:
    folder = Path(options.reward_model)
    if not has_head(folder):
        load_head(folder, 0, where="reward_model")  # says what is missing
    adapters.load_frozen(policy, folder, NAME, where="reward_model")
    head = load_head(folder, hidden_size_of(policy), where="reward_model")
    model = HeadedModel(policy, head)
    model.v_head.requires_grad_(False)
    context.plan.choose("reward", folder, "an adapter over the policy's base, no second copy of it")
    return _scoring(context, model, lambda: adapters.using(policy, NAME), end_to_end)


def _full(context: TrainerContext, policy: Any, options: Any, end_to_end: bool) -> RewardSource:
    plan = context.plan
    located = find_frozen(options.reward_model, plan.model, context.host, where="reward_model")
    folders = [*map(Path, reversed(options.reward_model_adapters)), located.folder]
    _same_vocabulary(context, located, folders)
    model, _ = load_frozen_model(
        options.reward_model, context.host, plan.model, where="reward_model", adapters=options.reward_model_adapters,
        bits=options.reward_model_quantization_bit,
    )  # fmt: skip
    head, found = head_for(model, folders, where="reward_model")
    if found is None:
        load_head(folders[0], 0, where="reward_model")  # says what is missing
    model.to(next(policy.parameters()).device)
    headed = HeadedModel(model, head)
    headed.requires_grad_(False)
    plan.choose("reward", found, "a reward model of its own")
    return _scoring(context, headed, nullcontext, attention.enable(model))


def _scoring(
    context: TrainerContext, model: HeadedModel, scope: Callable[[], AbstractContextManager[Any]], end_to_end: bool
) -> ModelReward:
    closing, stops = closing_tokens(context.template)
    pad = context.tokenizer.pad_token_id or 0
    return ModelReward(model, scope, end_to_end, pad, closing, stops, context.arguments.per_device_train_batch_size)


def _same_vocabulary(context: TrainerContext, located: Any, folders: Sequence[Path]) -> None:
    """A reward model reads the policy's token ids, so they must mean the same to it."""
    from plugtune.modeling.tokenizer import load_tokenizer

    if not any((folder / "tokenizer_config.json").is_file() for folder in folders):
        return
    theirs = load_tokenizer(located, context.plan.model).get_vocab()
    ours = context.tokenizer.get_vocab()
    differing = [token for token, number in ours.items() if theirs.get(token) != number]
    if differing:
        raise RequestError(
            f"the reward model has another vocabulary ({len(differing)} tokens differ, {differing[0]!r} for one)",
            where="reward_model", fix="use a reward model trained on the policy's base, or serve it: "
            "reward_model_type api",
        )  # fmt: skip


def _server(context: TrainerContext, policy: Any, options: Any, end_to_end: bool) -> RewardSource:
    context.plan.choose("reward", options.reward_model, "a server")
    return ServerReward(options.reward_model, context.tokenizer, options.reward_timeout)


def _function(context: TrainerContext, policy: Any, options: Any, end_to_end: bool) -> RewardSource:
    context.plan.choose("reward", options.reward_model, "a function")
    return FunctionReward(load_function(options.reward_model, where="reward_model"), context.tokenizer)


_MAKERS: dict[str, Callable[[TrainerContext, Any, Any, bool], RewardSource]] = {
    "lora": _adapter,
    "full": _full,
    "api": _server,
    "function": _function,
}
