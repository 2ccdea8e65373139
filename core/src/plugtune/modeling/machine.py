"""What this machine can give a run: the memory of its GPU or its own. Bytes; asks the system, opens no device."""

from __future__ import annotations

import os
from pathlib import Path


def machine() -> tuple[int, str]:
    """Bytes that this machine can still give a run, and where: its GPU's memory when `nvidia-smi` names one."""
    gpu = _gpu()
    return gpu if gpu is not None else (free_memory(), "this machine's memory")


def _gpu() -> tuple[int, str] | None:
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=memory.free,name", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
        free, _, name = lines[0].partition(",")
        return int(free) << 20, name.strip()
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def free_memory() -> int:
    """Bytes that are free or can be freed, within the limit of a container."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
        maximum = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        if maximum.isdigit():
            limits.append(max(int(maximum) - used, 0))
    except (OSError, ValueError):
        pass
    return min(limits)


def available_memory() -> int:
    """Bytes that the device of a run can still give: the GPU's free memory, else this machine's."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else free_memory()
