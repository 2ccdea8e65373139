"""What a stage plugin is given when it builds its trainer.

Knows nothing of any stage. The shared trainer (`training.trainer.PlugtuneTrainer`) and collator
(`training.collate.PackingFreeCollator`) are there to be used or subclassed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugtune.plugins.host import PluginHost
    from plugtune.templating.api import TemplateOnTokenizer
    from plugtune.training.plan import Plan


@dataclass(frozen=True, slots=True)
class TrainerContext:
    """Everything resolved before a trainer is built.

    Attributes:
        plan: the resolved plan; its options are final.
        model: the prepared model (`transformers.PreTrainedModel` or `peft.PeftModel`).
        tokenizer: the tokenizer.
        template: the template on the tokenizer, `None` for document stages.
        arguments: `transformers.TrainingArguments` made from the plan.
        train_rows: token rows for training, or `None`.
        eval_rows: token rows for evaluation: one data set, or several by name.
        callbacks: callbacks of core and of plugins.
        host: the plugin host, for stages that load a further model (reference, reward).
    """

    plan: Plan
    model: Any
    tokenizer: Any
    template: TemplateOnTokenizer | None
    arguments: Any
    train_rows: Any = None
    eval_rows: Any | Mapping[str, Any] | None = None
    callbacks: list[Any] = field(default_factory=list)
    host: PluginHost | None = None
