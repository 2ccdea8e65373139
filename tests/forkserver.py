"""Runs the program many times without importing the libraries each time: a process that imports once and forks.

Started as a script it reads one JSON request a line: `{"start": {"args": [...], "env": {...}, "output": FILE}}` forks a
child that is a whole run of the program (in the folder that `FORKED_IN` of `env` names), and answers with its process id; `{"wait": PID}` answers with its exit status
(negative for a signal). Everything after the imports is what a freshly started program does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOAD = ("torch", "transformers.trainer", "peft", "datasets", "accelerate", "plugtune.training.trainer", "plugtune.training.run",
           "transformers.models.llama.modeling_llama", "plugtune.cli.train", "pyarrow", "torch.distributed",
           "transformers.models.auto.tokenization_auto", "plugtune.training.stopping", "bitsandbytes")  # fmt: skip


class Forked:
    """The client: start runs, wait for them."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def _ask(self, request: object) -> int:
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, args: Sequence[object], output: Path, env: Mapping[str, str] | None = None) -> int:
        """Start a run; its process id."""
        return self._ask({"start": {"args": [str(a) for a in args], "env": dict(env or {}), "output": str(output)}})

    def wait(self, pid: int) -> int:
        """Its exit status, negative for a signal."""
        return self._ask({"wait": pid})

    def run(self, args: Sequence[object], output: Path, env: Mapping[str, str] | None = None) -> str:
        """A run that must succeed; what it printed."""
        status = self.wait(self.start(args, output, env))
        text = output.read_text(encoding="utf-8")
        assert status == 0, text
        return text

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin
        self.server.stdin.close()
        self.server.wait()


def _child(job: dict) -> None:
    log = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(job["env"])
    os.chdir(job["env"].get("FORKED_IN", "."))
    sys.path[:0] = job["env"].get("PYTHONPATH", "").split(":") if "PYTHONPATH" in job["env"] else []
    from plugtune.cli.main import run

    status = 1
    try:
        status = run(job["args"])
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    import contextlib
    import importlib

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _child(request["start"])
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    main()
