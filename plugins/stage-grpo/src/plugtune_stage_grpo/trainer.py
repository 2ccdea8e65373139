"""Joins the parts: groups of answers are scored, compared, and trained on with the clipped loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from plugtune.training.context import TrainerContext
from plugtune.training.online.functions import FunctionReward, load_function
from plugtune.training.online.logprobs import token_entropies, token_logprobs
from plugtune.training.online.measure import Tokens, kept_logits
from plugtune.training.online.rewards import RewardSource, make_reward
from plugtune.training.online.stream import Row
from plugtune.training.online.trainer import OnlineTrainer, online_context
from plugtune.training.reference import Reference, lasting

from plugtune_stage_grpo.groups import group_advantages
from plugtune_stage_grpo.losses import answer_weights, reference_kl, token_losses


class GrpoTrainer(OnlineTrainer):
    """GRPO over sampled answers. Build it with `GrpoTrainer.of`.

    Attributes:
        rewards: what scores an answer, by name, each with its weight.
        reference: the policy before training; nothing without a KL penalty.
    """

    options: Any
    rewards: dict[str, tuple[RewardSource, float]]
    reference: Reference | None

    @classmethod
    def of(cls, context: TrainerContext) -> GrpoTrainer:
        """The trainer with everything it needs beside the policy.

        Raises:
            RequestError: a reward or the reference model is wrong.
        """
        options: Any = context.plan.stage_options
        plan = online_context(
            context,
            buffer_size=options.grpo_buffer_size,
            passes=options.num_iterations,
            answers=options.num_generations,
        )
        trainer = cls(context, plan, answers=options.num_generations)
        trainer.options = options
        policy, end_to_end = context.model, trainer.end_to_end
        trainer.reference = lasting(context, policy, end_to_end=end_to_end) if options.beta else None
        sources: dict[str, RewardSource] = {
            name.rpartition(":")[2]: FunctionReward(load_function(name, where="reward_funcs"), context.tokenizer)
            for name in options.reward_funcs
        }
        if options.reward_model:
            sources["reward_model"] = make_reward(context, policy, options, end_to_end=end_to_end)
        weights = options.reward_weights or [1.0] * len(sources)
        trainer.rewards = {name: (sources[name], weight) for name, weight in zip(sources, weights, strict=True)}
        return trainer

    def experience(self, prompts: Tokens, answers: Tokens) -> Sequence[Row]:
        """Rows with `logprobs` and `advantages` of each answer token, and `reference` where there is a penalty."""
        columns = {"logprobs": self.measure(prompts, answers).logprobs}
        if self.reference is not None:
            columns["reference"] = self.measure_reference(self.reference, prompts, answers)
        total = torch.zeros(len(answers))
        with self.compute_loss_context_manager():
            for name, (source, weight) in self.rewards.items():
                scores = source(prompts, answers)
                total += weight * scores
                self.note(**{f"rewards/{name}": scores})
        advantages, deviations = group_advantages(total, self.answers, scale=self.options.scale_rewards)
        self.note(reward=total, reward_std=deviations)
        columns["advantages"] = [a.repeat(len(answer)) for a, answer in zip(advantages, answers, strict=True)]
        return [
            {
                "prompt_ids": torch.tensor(prompts[i]),
                "answer_ids": torch.tensor(answers[i]),
                **{name: values[i] for name, values in columns.items()},
            }
            for i in range(len(prompts))
        ]

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Clipped loss and KL penalty of the answer tokens, averaged as `loss_type` says."""
        options = self.options
        logits = kept_logits(model, inputs["inputs"], inputs["logits_at"])
        logprobs = token_logprobs(logits, inputs["labels"][0], self.temperature)
        high = options.epsilon if options.epsilon_high is None else options.epsilon_high
        losses, cut = token_losses(logprobs, inputs["logprobs"], inputs["advantages"], options.epsilon, high)
        self.note(policy_loss=losses, clip_fraction=cut, entropy=token_entropies(logits, self.temperature))
        if "reference" in inputs:
            kl = reference_kl(logprobs, inputs["reference"])
            self.note(kl=kl)
            losses = losses + options.beta * kl
        self.tokens_seen += int(inputs["lengths"].sum())
        loss = _AVERAGES[options.loss_type](self, losses, inputs["lengths"], num_items_in_batch)
        return (loss, logits) if return_outputs else loss

    @property
    def rows_of_a_step(self) -> int:
        """Answers that this process trains on in a step."""
        return int(self.stream.plan.micro * self.args.gradient_accumulation_steps)

    def by_answer(self, losses: torch.Tensor, lengths: torch.Tensor, tokens: Any) -> torch.Tensor:
        """Mean over the tokens of each answer, then over the answers of the step."""
        return (losses * answer_weights(lengths, self.rows_of_a_step)).sum()

    def by_token(self, losses: torch.Tensor, lengths: torch.Tensor, tokens: Any) -> torch.Tensor:
        """Mean over all answer tokens of the step, those of other processes included."""
        if tokens is None:
            return losses.mean()
        everywhere = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return losses.sum() / tokens * everywhere

    def by_constant(self, losses: torch.Tensor, lengths: torch.Tensor, tokens: Any) -> torch.Tensor:
        """Sum over a constant, so that long answers are not favoured."""
        return losses.sum() / (self.rows_of_a_step * self.generation.max_new_tokens)


_AVERAGES: dict[str, Callable[[GrpoTrainer, torch.Tensor, torch.Tensor, Any], torch.Tensor]] = {
    "grpo": GrpoTrainer.by_answer,
    "dapo": GrpoTrainer.by_token,
    "dr_grpo": GrpoTrainer.by_constant,
}
