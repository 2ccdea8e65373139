"""What runs on the cluster: an actor that holds the reserved resources and runs one process of the run.

The process is a fresh interpreter, so that it behaves as under torchrun: its own signals, exit status and output. The
actor hands its lines to the machine that has started the run. Knows nothing of plugtune, so that nodes can unpickle it.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

DEVICES = "CUDA_VISIBLE_DEVICES"


class Worker:
    """One process of the run, where Ray has placed it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.lines: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.readers: list[threading.Thread] = []

    def place(self) -> dict[str, Any]:
        """The machine, its address, a port that is free there, and the devices that Ray has given."""
        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        devices = [str(number) for number in ray.get_gpu_ids()]
        node = ray.get_runtime_context().get_node_id()
        return {"node": node, "address": ray.util.get_node_ip_address(), "port": port, "devices": devices}

    def run(self, command: Sequence[str], environment: Mapping[str, str], folder: str) -> str:
        """Start the process; says what is wrong when it cannot be started, else nothing."""
        if not os.path.isdir(folder):
            return f"the folder {folder} is not on machine {socket.gethostname()}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONUNBUFFERED"))}
        self.process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env={**kept, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        for name in ("stdout", "stderr"):
            reader = threading.Thread(target=self._read, args=(name, getattr(self.process, name)), daemon=True)
            reader.start()
            self.readers.append(reader)
        return ""

    def _read(self, name: str, stream: Any) -> None:
        while chunk := stream.read1(65536):
            self.lines.put((name, chunk))

    def look(self) -> tuple[list[tuple[str, bytes]], int | None]:
        """What was printed since the last look, and the exit status once the process has ended."""
        assert self.process is not None
        status = self.process.poll()
        if status is not None:
            for reader in self.readers:
                reader.join(timeout=10)
        found = []
        while not self.lines.empty():
            found.append(self.lines.get())
        return found, status

    def stop(self, number: int) -> None:
        """Send a signal to the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def end(self) -> None:
        """Make sure that nothing goes on after the run."""
        self.stop(signal.SIGKILL)
