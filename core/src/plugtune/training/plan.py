"""The plan: every choice of a run, made once, with who made it. It is what `--dry-run` prints and `run.json` keeps.

Nothing downstream looks at raw options. Making the plan imports no machine-learning library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plugtune.capabilities import Launcher, ModelFamily, Optimizer, Stage, TuningMethod
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
        optimizer: an optimizer of a plugin that the request turned on, with its options; else transformers' `optim`.
        launcher: what starts the processes instead of torchrun, with its options.
        choices: what was decided and why, in order.
        notes: warnings for the user (options without effect, template mismatch …).
        plugins: provenance of the plugins in use: `[{name, distribution, version, hash}, …]`.
        request: the options as given, name → (value, where it came from).
        fingerprints: what the training rows and the template came out as, once they are known.
        policy: the policy in force: its file, digest and rules.
    """

    stage: Stage
    method: TuningMethod
    model: ModelOptions
    data: DataOptions
    run: RunOptions
    generation: GenerationOptions
    trainer: dict[str, Any]
    optimizer: Optimizer | None = None
    optimizer_options: Any = None
    launcher: Launcher | None = None
    launcher_options: Any = None
    stage_options: Any = None
    method_options: Any = None
    family: ModelFamily | None = None
    choices: list[Choice] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plugins: list[Mapping[str, Any]] = field(default_factory=list)
    request: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)

    def choose(self, what: str, value: Any, why: str) -> None:
        """Record a choice that was made for the user."""
        self.choices.append(Choice(what, str(value), why))
