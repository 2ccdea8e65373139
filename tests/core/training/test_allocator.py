"""A training process keeps the memory that a step frees, and takes large tensors in large pages."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from plugtune.training import allocator

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PAGE = 4096

PROGRAM = """
import json, resource
from plugtune.training import allocator
from contextlib import nullcontext
if {huge}:
    allocator.ask_for_huge_pages()
import torch

def a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(5 * 2**20 // 2) for _ in range(40)]  # 10 MB each, freed together
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def from_maps(name):
    return next(int(l.split()[1]) for l in open("/proc/self/smaps_rollup") if l.startswith(name))

with allocator.memory_kept() if {keep} else nullcontext(False) as kept:
    faults = [a_step() for _ in range(6)]
    held = from_maps("Anonymous")
given_back = held - from_maps("Anonymous")
large = torch.ones(2**26)
print(json.dumps([kept, faults, given_back, from_maps("AnonHugePages")]))
"""

linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is a function of glibc")


def measured(keep: bool, huge: bool, **environ: str) -> tuple[bool, list[int], int, int]:
    """What a process says: whether it keeps memory, faults of equal steps, kilobytes given back, in huge pages."""
    names = (*allocator.OWN_SETTINGS, allocator.HUGE_PAGES)
    clean = {k: v for k, v in os.environ.items() if k not in names} | environ
    code = PROGRAM.replace("{keep}", str(keep)).replace("{huge}", str(huge))
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    kept, faults, given_back, huge_pages = json.loads(done.stdout)
    return kept, faults, given_back, huge_pages


@linux
def test_a_step_finds_the_memory_of_the_one_before_it() -> None:
    size = 40 * 10 * 2**20
    kept, faults, given_back, _ = measured(keep=True, huge=False)
    assert kept
    assert faults[0] > 0.5 * size / PAGE, "the first step fills every page"
    assert max(faults[1:]) < 0.3 * size / PAGE, "places still move a little"
    assert max(faults[4:]) < 0.02 * size / PAGE
    assert given_back > 0.5 * size / 1024, "kilobytes, when training is over"
    _, faults, _, _ = measured(keep=False, huge=False)
    assert faults[1] > 0.5 * size / PAGE, "otherwise blocks went back one by one, and the next step pays again"


@linux
@pytest.mark.parametrize("name", allocator.OWN_SETTINGS)
def test_settings_of_the_users_own_stay(name: str) -> None:
    with allocator.memory_kept({name: "a value of the user's"}) as kept:
        assert not kept


@pytest.mark.skipif(
    not THP.is_file() or "[never]" in THP.read_text(encoding="utf-8"), reason="this system gives no huge pages"
)
def test_large_tensors_lie_in_huge_pages() -> None:
    assert measured(keep=False, huge=True)[3] >= 200 * 1024
    own = {allocator.HUGE_PAGES: "0"}
    assert measured(keep=False, huge=True, **own)[3] < 100 * 1024, "the user's own value stays"
