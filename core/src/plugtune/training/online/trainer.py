"""The trainer of stages that sample their own answers: the shared trainer, fed by an `ExperienceStream`.

A step is an optimizer step, as in every stage. A buffer of `per_device_train_batch_size × gradient_accumulation_steps ×
buffer_size` rows is sampled from the policy as it is, and then trained on in `passes` shuffled passes. Checkpoints hold
the buffer and the place in it beside weights, optimizer and random state: a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from plugtune.errors import RequestError, RunError
from plugtune.inference.batch import Limits
from plugtune.inference.rollout import rollout
from plugtune.inference.sampling import Sampling
from plugtune.modeling.value_head import HeadedModel
from plugtune.training.checkpoint import write_whole
from plugtune.training.context import TrainerContext
from plugtune.training.means import Means
from plugtune.training.online.functions import BadScore
from plugtune.training.online.measure import Measures, Tokens, measure, reference_logprobs
from plugtune.training.online.stream import BufferPlan, ExperienceStream, Row, prompt_numbers
from plugtune.training.reference import Reference
from plugtune.training.sequences import answer_layout
from plugtune.training.trainer import PlugtuneTrainer

SHOWN = 160
"""Characters of a text that an error shows."""


def online_context(context: TrainerContext, *, buffer_size: int, passes: int, answers: int = 1) -> BufferPlan:
    """Sizes of the buffers; sets `max_steps` from the epochs where it was not given, and switches dropout off.

    Args:
        context: the run; its arguments are completed.
        buffer_size: optimizer steps' worth of rows in a buffer.
        passes: times that each row is trained on.
        answers: answers to each prompt.

    Raises:
        RequestError: the rows of a buffer cannot be divided into groups of `answers`.
    """
    arguments = context.arguments
    micro = arguments.per_device_train_batch_size
    rows = micro * arguments.gradient_accumulation_steps * buffer_size
    if rows % answers:
        raise RequestError(
            f"a buffer has {rows} rows, which are no whole groups of {answers} answers", where="num_generations",
            why="per_device_train_batch_size × gradient_accumulation_steps × buffer size must be a multiple of it",
        )  # fmt: skip
    prompts = rows // answers * arguments.world_size
    if arguments.max_steps <= 0:
        buffers = math.ceil(arguments.num_train_epochs * len(context.train_rows) / prompts)
        arguments.max_steps = buffers * passes * buffer_size
    arguments.ignore_data_skip = True  # the stream goes on by itself where it was saved
    _no_dropout(context)
    return BufferPlan(rows, micro, passes, arguments.seed)


def _no_dropout(context: TrainerContext) -> None:
    """Ratios of probabilities under two dropout masks are noise, so there is none."""
    dropped = [m for m in context.model.modules() if isinstance(m, torch.nn.Dropout) and m.p > 0]
    for module in dropped:
        module.p = 0.0
    if dropped:
        context.plan.notes.append("dropout is off: this stage compares probabilities before and after a step")


class OnlineTrainer(PlugtuneTrainer):
    """Base of trainers over sampled answers.

    Subclasses make rows from answers (`experience`), compute the loss of a batch of them, and may keep state of their
    own in checkpoints (`rollout_state`).
    """

    next_token_loss = False
    reads_end_to_end = True

    def __init__(self, context: TrainerContext, plan: BufferPlan, *, answers: int = 1, **overrides: Any) -> None:
        super().__init__(context, **overrides)
        self.answers = answers
        self.prompts: Any = context.train_rows
        self.template: Any = context.template
        self.stream = ExperienceStream(plan, self._make, self.batch_of)
        self.generation = context.plan.generation
        self.means = Means()
        self.model_accepts_loss_kwargs = True  # losses are sums over the items of the whole step

    # What a stage says.
    @abstractmethod
    def experience(self, prompts: Tokens, answers: Tokens) -> Sequence[Row]:
        """Rows of a buffer; `prompts` has each prompt as often as it was answered. Runs without gradients."""

    def rollout_state(self) -> dict[str, Any]:
        """What `experience` keeps from buffer to buffer, as JSON."""
        return {}

    def load_rollout_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `rollout_state` gave."""

    # The policy.
    @property
    def policy(self) -> Any:
        """The language model in training, with its adapters and without a value head."""
        model = self.accelerator.unwrap_model(self.model)
        return model.model if isinstance(model, HeadedModel) else model

    @property
    def temperature(self) -> float:
        """Sampling temperature; log-probabilities are taken at it, so they are those of the policy that acts."""
        return self.generation.temperature

    def sample(self, prompts: Tokens) -> list[list[int]]:
        """An answer to each prompt, with the token that ended it; drawn from torch's global random state."""
        limits = Limits(rows=self.args.per_device_eval_batch_size)
        with torch.no_grad(), self.compute_loss_context_manager():
            answers = rollout(
                self.policy, prompts, Sampling.of(self.generation), stop_ids=self.template.stop_token_ids(),
                pad_id=self.pad_token_id, keep_stop=True, limits=limits,
            )  # fmt: skip
        return [answer.ids for answer in answers]

    def measure(self, prompts: Tokens, answers: Tokens) -> Measures:
        """Log-probabilities, and values of a model with a value head, of the policy as it is."""
        with self.compute_loss_context_manager():
            return measure(
                self.accelerator.unwrap_model(self.model), prompts, answers, temperature=self.temperature,
                end_to_end=self.end_to_end, pad=self.pad_token_id, at_once=self.stream.plan.micro,
            )  # fmt: skip

    def measure_reference(self, reference: Reference, prompts: Tokens, answers: Tokens) -> list[torch.Tensor]:
        """Log-probabilities under the reference."""
        with self.compute_loss_context_manager():
            return reference_logprobs(
                reference, prompts, answers, temperature=self.temperature, pad=self.pad_token_id,
                at_once=self.stream.plan.micro,
            )  # fmt: skip

    # The stream.
    def _make(self, number: int) -> Sequence[Row]:
        """Buffer `number`: prompts of this process, an answer or several to each, and what the stage makes of them."""
        if number == 0:  # the same answers however much was drawn while models were loaded; others on each process
            torch.manual_seed(self.args.seed + self.args.process_index)
        count = self.stream.plan.rows // self.answers
        start = (number * self.args.world_size + self.args.process_index) * count
        numbers = prompt_numbers(start, count, len(self.prompts), self.args.seed, shuffle=self.shuffle)
        prompts = [list(self.prompts[n]["prompt_ids"]) for n in numbers for _ in range(self.answers)]
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        answers = self.sample(prompts)
        self.note(response_length=torch.tensor([float(len(answer)) for answer in answers]))
        try:
            rows = self.experience(prompts, answers)
        except BadScore as error:
            raise self._told_whose(error, numbers[error.place // self.answers], answers[error.place]) from error
        model.train()
        return rows

    def _told_whose(self, error: BadScore, row: int, answer: Sequence[int]) -> RunError:
        prompt = self._text(self.prompts[row]["prompt_ids"])
        problem = error.problems[0]
        return RunError(
            problem.what, where=f"prompt row {row + 1} of {len(self.prompts)}", why=problem.why,
            fix=f"look at this one: prompt {prompt!r}, answer {self._text(answer)!r}",
        )  # fmt: skip

    def _text(self, ids: Sequence[int]) -> str:
        text = str(self.context.tokenizer.decode(list(ids)))
        return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}"

    def batch_of(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The model's inputs, `logits_at` and `labels` `(1, K)` (answer tokens, which are counted), and every other
        column of the rows joined: `(K,)` for columns with a value for each token, `(rows,)` for those with one."""
        inputs, kept, targets = answer_layout(
            [row["prompt_ids"].tolist() for row in rows], [row["answer_ids"].tolist() for row in rows],
            end_to_end=self.end_to_end, pad=self.pad_token_id,
        )  # fmt: skip
        columns = {n: torch.cat([row[n] for row in rows]) for n in rows[0] if n not in ("prompt_ids", "answer_ids")}
        lengths = torch.tensor([len(row["answer_ids"]) for row in rows])
        labels = targets.unsqueeze(0)
        return {"inputs": inputs, "logits_at": kept, "labels": labels, "shift_labels": labels, "lengths": lengths,
                **columns}  # fmt: skip

    def get_train_dataloader(self) -> Any:
        """The stream itself: it knows its place, and nothing is read ahead of the weights."""
        return self.stream

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """The language model's own estimate."""
        return super().floating_point_ops(inputs["inputs"])

    # Checkpoints.
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        folder, name = Path(output_dir), f"rollouts-{self.args.process_index}"
        folder.mkdir(parents=True, exist_ok=True)
        self.stream.save(folder, name)
        write_whole(folder / f"{name}-state.json", json.dumps(self.rollout_state()).encode())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        folder, name = Path(checkpoint), f"rollouts-{self.args.process_index}"
        if not (folder / f"{name}.json").is_file():
            raise RequestError(
                f"checkpoint {checkpoint} holds no rollouts of process {self.args.process_index}",
                where="resume_from_checkpoint", why="it was saved by another number of processes, or weights only",
                fix="resume with the same number of processes, or start anew from its weights",
            )  # fmt: skip
        self.stream.load(folder, name)
        self.load_rollout_state(json.loads((folder / f"{name}-state.json").read_text(encoding="utf-8")))

    # Numbers.
    def note(self, **values: torch.Tensor) -> None:
        """Remember numbers for the next log, which has their mean over all processes."""
        for name, value in values.items():
            self.means.add(name, value.detach().float())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The stock log with the means of what was noted; `epoch` counts prompts."""
        if "loss" in logs:
            logs |= self.means.take(self.accelerator)
        prompts = self.stream.made * self.stream.plan.rows // self.answers * self.args.world_size
        self.state.epoch = prompts / max(len(self.prompts), 1)
        super().log(logs, start_time)
