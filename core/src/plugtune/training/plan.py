"""The plan: every choice of a run, made once, with who made it. It is what `--dry-run` prints and `run.json` keeps.

Nothing downstream looks at raw options. Making the plan imports no machine-learning library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plugtune.capabilities import ModelFamily, Stage, TuningMethod
from plugtune.options.groups import DataOptions, GenerationOptions, ModelOptions, RunOptions


@dataclass(frozen=True, slots=True)
class Choice:
    """One resolved choice: what was chosen, and where it came from (a flag, a file, a default, the hardware)."""

    what: str
    value: str
    why: str


@dataclass(slots=True)
class Plan:
    """A resolved run.

    Attributes:
        stage, method: the capabilities that do the work, with their own options objects (`None` when they have none).
        family: the family that claims the model, or `None` when transformers alone knows the architecture.
        model, data, run, generation: core's option groups.
        trainer: fields of `transformers.TrainingArguments` that the request named or an alias produced.
        choices: what was decided and why, in order.
        notes: warnings for the user (options without effect, template mismatch …).
        plugins: provenance of the plugins in use: `[{name, distribution, version, hash}, …]`.
        request: the options as given, name → (value, where it came from).
    """

    stage: Stage
    method: TuningMethod
    model: ModelOptions
    data: DataOptions
    run: RunOptions
    generation: GenerationOptions
    trainer: dict[str, Any]
    stage_options: Any = None
    method_options: Any = None
    family: ModelFamily | None = None
    choices: list[Choice] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plugins: list[Mapping[str, Any]] = field(default_factory=list)
    request: Mapping[str, tuple[Any, str]] = field(default_factory=dict)

    def identity(self) -> dict[str, str]:
        """What makes two runs the same run for a resume: stage, method, model."""
        model = str(self.model.model_name_or_path)
        return {"stage": self.stage.name, "method": self.method.name, "model": model.rstrip("/").rpartition("/")[2]}

    def choose(self, what: str, value: Any, why: str) -> None:
        """Record a choice that was made for the user."""
        self.choices.append(Choice(what, str(value), why))
