"""The trainer of the language-model stages: `transformers.Trainer` with batches that waste nothing.

With rows laid end to end the head and the cross-entropy run only where a label is trained on
(`logits_to_keep` + `shift_labels`), and attention runs within rows. The plain padded path stays available and is what
the tests compare with. Knows nothing of stages, methods or families.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch

from plugtune.capabilities import load_ref
from plugtune.modeling.zero import cut_up
from plugtune.training import attention, fused_head, varlen
from plugtune.training.collate import EndToEndCollator, PaddedCollator
from plugtune.training.context import TrainerContext
from plugtune.training.counting import CountsTokens
from plugtune.training.cpu_sharding import shard_on_cpu
from plugtune.training.deferred_head import defer_head, deferred
from plugtune.training.lean import enable as lean
from plugtune.training.neftune import add_noise, noisy_rows
from plugtune.training.order import FilledRows, Order
from plugtune.training.saving import WholeSaves
from plugtune.training.trials import Choice, Kernel


class PlugtuneTrainer(WholeSaves, CountsTokens):
    """A `transformers.Trainer` over token rows.

    Attributes:
        end_to_end: whether batches are laid end to end (else padded).
        deferred: whether the output head is computed in chunks inside the loss.
        tokens_seen: real tokens (no padding) that this process has trained on.
        next_token_loss: whether the loss is a mean over tokens, so that its exponential is a perplexity.
        reads_end_to_end: whether a `compute_loss` of the class's own reads batches laid end to end. Without it such a
            class gets plain padded batches, in which logits and labels stand as everywhere else.
    """

    next_token_loss = True
    reads_end_to_end = False
    _order: Order | None = None

    def __init__(self, context: TrainerContext, **overrides: Any) -> None:
        run = context.plan.run
        stock = type(self).compute_loss is PlugtuneTrainer.compute_loss
        wanted = not run.plain_loss and context.plan.data.padding_free and (stock or self.reads_end_to_end)
        packs = context.plan.family is None or context.plan.family.packs
        self.end_to_end = bool(
            wanted and packs and _takes_kept_logits(context.model) and attention.enable(context.model)
        )
        # Weights that are cut up among processes are whole only inside the model's own forward pass.
        whole = not (context.arguments.fsdp or any(map(cut_up, context.model.parameters())))
        if self.end_to_end and whole:
            self._keep_less(context)
        smoothing = float(context.arguments.label_smoothing_factor)
        own_loss = type(self).token_loss is not PlugtuneTrainer.token_loss
        fused = partial(self._fused_head, context, smoothing)
        self.deferred = bool(self.end_to_end and whole and not own_loss and defer_head(context.model, smoothing, fused))
        if smoothing and not self.deferred:
            self.end_to_end = False  # the stock label smoother wants padded logits
        self.shuffle = not run.disable_shuffling
        self.tokens_seen = 0
        self.context = context
        collator = self.lay_out(wanted)
        settings: dict[str, Any] = {
            "model": context.model,
            "args": context.arguments,
            "train_dataset": context.train_rows,
            "eval_dataset": context.eval_rows,
            "data_collator": collator,
            "processing_class": context.tokenizer,
            "callbacks": context.callbacks,
        }
        if own_loss:
            settings["compute_loss_func"] = self._loss_of_tokens
        settings |= overrides
        if self._fills(context.arguments, settings, overrides):
            rows = settings["train_dataset"]
            settings["train_dataset"] = FilledRows(rows, self.blank_row(rows) or {})
        super().__init__(**settings)
        self.can_return_loss = True
        if self.neftune_noise_alpha is not None:
            add_noise(context.model, self.neftune_noise_alpha)
            self.neftune_noise_alpha = None  # the stock hook does not know rows laid end to end
        if self.deferred:
            self.label_smoother = None  # the deferred head smooths by itself

    @staticmethod
    def _fused_head(context: TrainerContext, smoothing: float, head: torch.nn.Linear) -> Kernel | None:
        """The kernel that a GPU computes this head's loss with, said in the plan."""
        arguments = context.arguments
        dtype = torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else head.weight.dtype
        choice = fused_head.choose(arguments.device, dtype, head.in_features, head.bias is not None, smoothing)
        _say_kernel(context, "head", choice)
        return choice.kernel

    @staticmethod
    def _keep_less(context: TrainerContext) -> None:
        switched = lean.enable(context.model)
        if switched:
            context.plan.choose(
                "layers",
                f"{switched} fused",
                "adapters, gated blocks and norms keep less for the backward pass, same numbers",
            )

    @property
    def pad_token_id(self) -> int:
        """What fills padded batches; never attended to."""
        pad = self.context.tokenizer.pad_token_id
        return int(pad) if pad is not None else 0

    def lay_out(self, wanted: bool) -> Any:
        """The collator of this trainer; says in the plan which way was chosen when end to end was `wanted`."""
        if wanted:
            how = "rows laid end to end, logits only where trained on" if self.end_to_end else "padded"
            why = "rows were checked to be independent" if self.end_to_end else "this model mixes rows laid end to end"
            self.context.plan.choose("batches", how, why)
        device = self.context.arguments.device
        if self.end_to_end and device.type in varlen.DEVICES:
            _say_kernel(self.context, "attention", varlen.choice(device))
        return EndToEndCollator() if self.end_to_end else PaddedCollator(self.pad_token_id)

    def token_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of each trained token, for stages with a loss of their own: override it.

        Args:
            logits: `(K, vocabulary)` fp32, for the K tokens of the batch that are trained on.
            labels: `(K,)` int64.

        Returns:
            `(K,)`; the trainer takes the mean over all trained tokens of a step, on all devices.
        """
        raise NotImplementedError

    def _loss_of_tokens(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs["logits"]
        if not self.end_to_end:
            logits, labels = logits[:, :-1], labels[:, 1:]
        kept = labels != -100
        total = self.token_loss(logits[kept].float(), labels[kept]).sum()
        return total / (kept.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The stock loss, with no mask made for rows laid end to end and no cache kept."""
        if num_items_in_batch is not None and not torch.is_tensor(num_items_in_batch):
            num_items_in_batch = torch.tensor(num_items_in_batch)
        if num_items_in_batch is not None:
            # A batch in which nothing is trained on must give zero, not 0 / 0.
            num_items_in_batch = num_items_in_batch.clamp(min=1)
        inputs = {**inputs, "use_cache": False}
        with (
            noisy_rows(inputs),
            attention.segments() if "cu_seq_lens_q" in inputs else nullcontext(),
            deferred() if self.deferred else nullcontext(),
        ):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Evaluation computes the loss only: rows laid end to end have no logits per row to hand out."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            count = max(int((inputs["labels"] != -100).sum()), 1)
            loss = self.compute_loss(model, inputs, num_items_in_batch=torch.tensor(count, device=model.device))
        # compute_loss multiplies by the number of processes because gradients are averaged over them; a loss is not.
        if self.args.average_tokens_across_devices:
            loss = loss / self.accelerator.num_processes
        return loss.detach(), None, None

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        if self.shuffle and self.args.train_sampling_strategy != "random":
            return super()._get_train_sampler(rows)
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        step = self.args.train_batch_size * self.args.world_size
        multiple = step if isinstance(rows, FilledRows) else 1
        self._order = Order(len(rows), shuffle=self.shuffle, seed=seed, multiple=multiple)  # type: ignore[arg-type]
        return self._order

    def _run_epoch(self, *args: Any, **kwargs: Any) -> Any:
        """The stock epoch. Where a run of several processes goes on in the middle of one, the epoch's number does not
        reach the sampler (accelerate wraps it once more to skip batches), so it is told here."""
        epoch = kwargs.get("epoch", args[1] if len(args) > 1 else None)
        if self._order is not None and epoch is not None:
            self._order.set_epoch(int(epoch))
        return super()._run_epoch(*args, **kwargs)

    def blank_row(self, rows: Any) -> dict[str, Any] | None:
        """A row that trains nothing, to fill uneven ends of epochs with; `None` where a stage has no such row."""
        if type(self).compute_loss is not PlugtuneTrainer.compute_loss:
            return None
        return {"input_ids": list(rows[0]["input_ids"][:1]), "labels": [-100]}

    def _fills(self, arguments: Any, settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> bool:
        """Whether uneven ends of epochs are filled with rows that train nothing.

        Stages that know no such row keep the stock way, which repeats rows of the start of the epoch.
        """
        rows = settings["train_dataset"]
        several = arguments.world_size > 1 and not arguments.dataloader_drop_last
        random_or_fixed = not self.shuffle or arguments.train_sampling_strategy == "random"
        countable = (
            hasattr(rows, "__len__") and len(rows) > 0 and not {"train_dataset", "data_collator"} & set(overrides)
        )
        return bool(several and random_or_fixed and countable and self.blank_row(rows) is not None)

    def create_accelerator_and_postprocess(self) -> None:
        """The stock accelerator, which shards on a CPU too."""
        super().create_accelerator_and_postprocess()
        shard_on_cpu(self)

    def create_optimizer(self, model: Any = None) -> Any:
        """The stock optimizer, unless a plugin's is turned on or the method wants groups of its own (LoRA+)."""
        plan = self.context.plan
        if self.optimizer is None and plan.optimizer is not None:
            self.optimizer = load_ref(plan.optimizer.build)(self.model, self.args, plan.optimizer_options)
        if self.optimizer is None:
            make = getattr(self.model, "plugtune_optimizer", None)
            if make is not None:
                self.optimizer = make(self.args)
        return super().create_optimizer(model) if self.optimizer is None else self.optimizer


def _say_kernel(context: TrainerContext, what: str, choice: Choice) -> None:
    if choice.kernel is not None:
        context.plan.choose(what, choice.kernel.name, "installed, and right on this device")
    context.plan.notes += [f"{what}: {text}" for text in choice.refused]


def _takes_kept_logits(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters
