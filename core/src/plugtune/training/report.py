"""`run.json`: what ran, proved: resolved options, plugins, packages, data report, template, cost."""

from __future__ import annotations

import dataclasses
import json
import platform
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from plugtune.training.checkpoint import write_whole
from plugtune.training.plan import Plan

PACKAGES = ("plugtune", "torch", "transformers", "accelerate", "datasets", "tokenizers", "safetensors", "peft", "trl",
            "bitsandbytes")  # fmt: skip


@dataclass(slots=True)
class RunReport:
    """What a finished run can prove.

    Attributes:
        plan: the plan it followed.
        output_dir: where its files are.
        metrics: what `all_results.json` holds.
        data: the data report as JSON.
        template: name and digest of the template.
        stopped: the signal that ended it early, empty for a run that reached its end.
        devices: the processes that took part and what they computed on.
    """

    plan: Plan
    output_dir: Path
    metrics: dict[str, float] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    template: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""
    devices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0, or 128 + the number of the signal that stopped the run."""
        return 128 + signal.Signals[self.stopped].value if self.stopped else 0

    def as_json(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "status": "stopped" if self.stopped else "finished",
            "signal": self.stopped or None,
            "exit_status": self.exit_status,
            "stage": plan.stage.name,
            "method": plan.method.name,
            "family": plan.family.name if plan.family else None,
            "options": resolved_options(plan),
            "choices": [dataclasses.asdict(choice) for choice in plan.choices],
            "notes": list(plan.notes),
            "plugins": list(plan.plugins),
            "policy": dict(plan.policy),
            "packages": package_versions(),
            "python": platform.python_version(),
            "command": sys.argv[1:],
            "data": self.data,
            "template": self.template,
            "metrics": self.metrics,
            "devices": dict(self.devices),
            "peak_memory_mb": peak_memory_mb(),
        }

    def write(self) -> None:
        """Write `run.json`, whole or not at all."""
        text = json.dumps(self.as_json(), ensure_ascii=False, indent=1, default=str)
        write_whole(self.output_dir / "run.json", text.encode("utf-8"))


SECRET = ("token", "api_key", "secret", "password")


def resolved_options(plan: Plan) -> dict[str, Any]:
    """Every option of the run by group; values that are secrets are replaced by `***`."""
    groups = {"model": plan.model, "data": plan.data, "run": plan.run, "generation": plan.generation,
              "stage": plan.stage_options, "method": plan.method_options,
              "optimizer": plan.optimizer_options, "launcher": plan.launcher_options}  # fmt: skip
    options = {name: dataclasses.asdict(group) for name, group in groups.items() if group is not None}
    options["trainer"] = dict(plan.trainer)
    return {
        name: {key: "***" if value and key.endswith(SECRET) else value for key, value in group.items()}
        for name, group in options.items()
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that decide numbers."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def peak_memory_mb() -> dict[str, float]:
    """Peak resident memory of this process and, with CUDA, peak allocated memory of its device; MiB."""
    memory = {"process": round(_peak_kib() / 1024, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        memory["cuda"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return memory


def _peak_kib() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return float(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):  # not Linux: there the usage also counts what a process was forked from
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage / 1024 if sys.platform == "darwin" else usage
