"""Joins the parts: a buffer of answers is scored, penalised by its KL to the reference, turned into advantages, and
trained on in several passes with the clipped losses. The value head shares the policy's trunk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from plugtune.training.context import TrainerContext
from plugtune.training.headed import HeadedTrainer, with_head
from plugtune.training.online.logprobs import token_entropies, token_logprobs
from plugtune.training.online.measure import Tokens
from plugtune.training.online.rewards import RewardSource, make_reward
from plugtune.training.online.stream import Row
from plugtune.training.online.trainer import OnlineTrainer, online_context
from plugtune.training.reference import Reference, lasting

from plugtune_stage_ppo.advantages import advantages_of, whiten
from plugtune_stage_ppo.kl import KlController, penalised
from plugtune_stage_ppo.losses import approximate_kl, policy_losses, value_losses
from plugtune_stage_ppo.scores import RunningScores, clipped


class PpoTrainer(OnlineTrainer, HeadedTrainer):
    """PPO over sampled answers. Build it with `PpoTrainer.of`."""

    reference: Reference
    reward: RewardSource

    @classmethod
    def of(cls, context: TrainerContext) -> PpoTrainer:
        """The trainer with everything it needs beside the policy.

        Raises:
            RequestError: the reward or the reference model is wrong.
        """
        options: Any = context.plan.stage_options
        plan = online_context(context, buffer_size=options.ppo_buffer_size, passes=options.ppo_epochs)
        headed = with_head(context)
        trainer = cls(headed, plan)
        trainer.options = options
        trainer.controller = KlController(
            options.ppo_init_kl_coef, options.ppo_target, options.ppo_kl_horizon, options.ppo_adaptive_kl
        )
        trainer.scores = RunningScores()
        policy = headed.model.model
        trainer.reference = lasting(context, policy, end_to_end=trainer.end_to_end)
        trainer.reward = make_reward(context, policy, options, end_to_end=trainer.end_to_end)
        return trainer

    options: Any
    controller: KlController
    scores: RunningScores

    def experience(self, prompts: Tokens, answers: Tokens) -> Sequence[Row]:
        """Rows with `logprobs`, `values`, `advantages` and `returns` of each answer token."""
        options = self.options
        seen = self.measure(prompts, answers)
        reference = self.measure_reference(self.reference, prompts, answers)
        with self.compute_loss_context_manager():
            raw = self.reward(prompts, answers)
        rewards, kl = penalised(seen.logprobs, reference, self._scores(raw), self.controller.beta)
        self._note_buffer(raw, kl)
        self.controller.update(self._over_processes(kl.mean()), len(kl) * self.args.world_size)
        if options.ppo_whiten_rewards:
            rewards = whiten(rewards, keep_mean=True, total=self._total)
        estimates = [
            advantages_of(reward, values, gamma=options.ppo_gamma, lam=options.ppo_lambda)
            for reward, values in zip(rewards, seen.values, strict=True)
        ]
        advantages = whiten([advantage for advantage, _ in estimates], total=self._total)
        return [
            {
                "prompt_ids": torch.tensor(prompts[i]),
                "answer_ids": torch.tensor(answers[i]),
                "logprobs": seen.logprobs[i],
                "values": seen.values[i],
                "advantages": advantages[i],
                "returns": estimates[i][1],
            }
            for i in range(len(prompts))
        ]

    def _scores(self, raw: torch.Tensor) -> torch.Tensor:
        scores = raw
        if self.options.ppo_score_norm:
            self.scores.update(self.accelerator.gather(raw.to(self.args.device)).cpu())
            scores = self.scores.normalise(raw)
        return clipped(scores, self.options.ppo_score_clip)

    def _total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, of numbers on the CPU."""
        total: torch.Tensor = self.accelerator.reduce(value.to(self.args.device), "sum")
        return total.cpu()

    def _over_processes(self, value: torch.Tensor) -> float:
        return float(self.accelerator.gather(value.to(self.args.device)).mean())

    def _note_buffer(self, raw: torch.Tensor, kl: torch.Tensor) -> None:
        deviation = raw.std(unbiased=False)
        self.note(reward=raw, reward_std=deviation, kl=kl, kl_coef=torch.tensor(self.controller.beta))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Policy loss + weight · value loss, over the answer tokens of the whole step."""
        options = self.options
        seen = model(logits_at=inputs["logits_at"], **inputs["inputs"])
        logprobs = token_logprobs(seen.logits, inputs["labels"][0], self.temperature)
        policy, cut = policy_losses(logprobs, inputs["logprobs"], inputs["advantages"], options.ppo_clip)
        value = value_losses(seen.values, inputs["values"], inputs["returns"], options.ppo_value_clip)
        self.tokens_seen += int(inputs["lengths"].sum())
        moved, entropy = approximate_kl(logprobs, inputs["logprobs"]), token_entropies(seen.logits, self.temperature)
        self.note(policy_loss=policy, value_loss=value, clip_fraction=cut, approx_kl=moved, entropy=entropy)
        items = num_items_in_batch if num_items_in_batch is not None else len(policy)
        loss = (policy + options.ppo_value_weight * value).sum() / items
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, seen) if return_outputs else loss

    def rollout_state(self) -> dict[str, Any]:
        """The weight of the penalty and what is known of scores."""
        return {"beta": self.controller.beta, "scores": dataclasses.asdict(self.scores)}

    def load_rollout_state(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.controller.beta = float(state["beta"])
        self.scores = RunningScores(**state["scores"])
