"""A training process keeps the memory that a step frees, and gives it back afterwards."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest
from plugtune.training import allocator

PAGE = 4096

PROGRAM = """
import json, resource
from plugtune.training import allocator
from contextlib import nullcontext
import torch

def a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(5 * 2**20 // 2) for _ in range(30)]  # 10 MB each, freed together
    tensors.append(torch.ones(25 * 2**20))  # 100 MB
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def from_maps(name):
    return next(int(l.split()[1]) for l in open("/proc/self/smaps_rollup") if l.startswith(name))

with allocator.memory_kept() if {keep} else nullcontext(False) as kept:
    faults = [a_step() for _ in range(6)]
    held = from_maps("Anonymous")
given_back = held - from_maps("Anonymous")
print(json.dumps([kept, faults, given_back]))
"""

linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is a function of glibc")


def measured(keep: bool) -> tuple[bool, list[int], int]:
    """What a process says: whether it keeps memory, faults of equal steps, kilobytes given back."""
    clean = {k: v for k, v in os.environ.items() if k not in allocator.OWN_SETTINGS}
    code = PROGRAM.replace("{keep}", str(keep))
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    kept, faults, given_back = json.loads(done.stdout)
    return kept, faults, given_back


@linux
def test_a_step_finds_the_memory_of_the_one_before_it() -> None:
    size = 400 * 2**20
    kept, faults, given_back = measured(keep=True)
    assert kept
    assert faults[0] > 0.5 * size / PAGE, "the first step fills every page"
    assert max(faults[1:]) < 0.3 * size / PAGE, "places still move a little"
    assert max(faults[4:]) < 0.02 * size / PAGE
    assert given_back > 0.5 * size / 1024, "kilobytes, when training is over"
    _, faults, _ = measured(keep=False)
    assert faults[1] > 0.5 * size / PAGE, "otherwise blocks went back one by one, and the next step pays again"


@linux
@pytest.mark.parametrize("name", allocator.OWN_SETTINGS)
def test_settings_of_the_users_own_stay(name: str) -> None:
    with allocator.memory_kept({name: "a value of the user's"}) as kept:
        assert not kept
