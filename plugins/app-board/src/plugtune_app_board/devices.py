"""What this machine has and uses: graphics devices and memory, asked without opening a device."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Device:
    """A graphics device; memory in bytes."""

    index: str
    name: str
    used: int
    total: int


def devices() -> list[Device]:
    """NVIDIA devices as their driver reports them; empty without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=index,name,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        return [Device(row[0], row[1], int(row[2]) << 20, int(row[3]) << 20) for row in rows]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return []


def memory() -> tuple[int, int]:
    """Used and total bytes of this machine's memory."""
    found = psutil.virtual_memory()
    return int(found.total - found.available), int(found.total)
