"""One board: its settings, what is installed, its jobs, its model to talk to, and what was chosen last."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugtune.plugins.host import PluginHost
from plugtune.training.checkpoint import write_whole

from plugtune_app_board.compose import Composer
from plugtune_app_board.follow import FORM
from plugtune_app_board.jobs import Job, Jobs
from plugtune_app_board.known import Known, read_json
from plugtune_app_board.look import Preview
from plugtune_app_board.order import Order
from plugtune_app_board.settings import Settings
from plugtune_app_board.talk import Talk


@dataclass(slots=True)
class Board:
    """What the pages share."""

    settings: Settings
    host: PluginHost
    composer: Composer
    jobs: Jobs
    preview: Preview
    talk: Talk
    _writing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, settings: Settings, host: PluginHost) -> Board:
        """A board over a working folder; finds the jobs of earlier ones."""
        composer = Composer(host, settings)
        jobs = Jobs(settings.state / "jobs", settings.work)
        return cls(settings, host, composer, jobs, Preview(composer), Talk(composer))

    @property
    def known(self) -> Known:
        """What can be chosen."""
        return self.composer.known

    @property
    def configs(self) -> Path:
        """Where saved settings are kept."""
        return self.settings.state / "configs"

    def start(self, order: Order, form: dict[str, Any]) -> Job:
        """Write a run's files and put it into the queue."""
        import yaml

        order.file.parent.mkdir(parents=True, exist_ok=True)
        if order.kind != "export":
            order.folder.mkdir(parents=True, exist_ok=True)
            kept = {key: value for key, value in form.items() if value is not None}
            write_whole(order.folder / FORM, yaml.safe_dump(kept, allow_unicode=True, sort_keys=False).encode())
        write_whole(order.file, order.yaml().encode("utf-8"))
        return self.jobs.add(
            order.kind, order.title, order.command(), folder=order.folder, log=order.log, proof=order.proof,
            env=order.env,
        )  # fmt: skip

    def latest(self, kind: str) -> Job | None:
        """The running job of a kind, else its newest."""
        jobs = [job for job in self.jobs.all() if job.kind == kind]
        return next((job for job in jobs if job.state == "running"), jobs[0] if jobs else None)

    # What was chosen last --------------------------------------------------------------------------------------------

    def remembered(self) -> dict[str, Any]:
        """Language, model, paths by model and data folder of the last visit."""
        return read_json(self.settings.state / "user.json")

    def remember(self, **values: Any) -> None:
        """Keep choices for the next visit; a path is kept by its model."""
        if self.settings.demo:
            return
        with self._writing:
            self._remember(values)

    def _remember(self, values: dict[str, Any]) -> None:
        kept = self.remembered()
        paths = {**kept.get("paths", {}), **values.pop("paths", {})}
        changed = {**kept, **values, **({"paths": paths} if paths else {})}
        if changed != kept:
            self.settings.state.mkdir(parents=True, exist_ok=True)
            write_whole(self.settings.state / "user.json", json.dumps(changed, ensure_ascii=False, indent=1).encode())
