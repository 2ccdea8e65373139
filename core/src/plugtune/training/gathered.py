"""What a run has gathered so far, and the one way in which it speaks."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugtune.modeling.locate import Located
from plugtune.plugins.host import PluginHost
from plugtune.training.plan import Plan
from plugtune.training.world import World, is_main


def say(text: str) -> None:
    """A line for the user, on stderr: stdout belongs to `--json`. Only the first of several processes speaks."""
    if is_main():
        print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Run:
    """What a run has gathered so far."""

    host: PluginHost
    plan: Plan
    located: Located
    world: World = field(default_factory=World)
    tokenizer: Any = None
    template: Any = None
    rows: Any = None
    resume: Path | None = None
    stopped: str = ""
    devices: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def output_dir(self) -> Path:
        """Where everything goes."""
        return Path(str(self.plan.run.output_dir))
