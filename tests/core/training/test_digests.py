"""Checkpoint files hashed by several processes: each once, and only files that process 0 sees itself count."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from plugtune.errors import RequestError
from plugtune.modeling.locate import locate
from plugtune.options.groups import ModelOptions
from plugtune.training.checkpoint import seal, verify
from plugtune.training.digests import look, names_in, share

NAMES = [
    "model/__0_0.distcp", "model/__1_0.distcp", "model/__2_0.distcp", "optim/__0_0.distcp", "optim/__1_0.distcp",
    "rng_state_0.pth", "rng_state_2.pth", "scheduler.pt", "trainer_state.json", "zero_pp_rank_1_mp_rank_00.pt",
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_each_file_is_hashed_by_one_process_and_by_the_one_whose_number_it_has(size):
    shares = [share(NAMES, rank, size) for rank in range(size)]
    assert sorted(name for one in shares for name in one) == NAMES
    assert "model/__1_0.distcp" in shares[1 % size]
    assert "zero_pp_rank_1_mp_rank_00.pt" in shares[1 % size]
    assert "rng_state_2.pth" in shares[2 % size]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "checkpoint-4" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    return tmp_path / "checkpoint-4"


def sums(folder: Path) -> dict[str, str]:
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    return {name: entry["sha256"] for name, entry in listed.items()}


def truth(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES}


def test_digests_of_others_are_taken_over(folder, monkeypatch):
    theirs = {}
    for rank in range(3):
        seen = look(folder, names_in(folder), share(NAMES, rank, 3))
        theirs |= {name: digest for name, digest in seen.items() if digest.sha256}
    read: list[str] = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: read.append(file.name) or real(file, kind))
    seal(folder, 4, known=theirs)
    assert read == []
    assert sums(folder) == truth(folder)


def test_a_file_of_the_same_name_on_another_disk_does_not_count(folder, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "scheduler.pt").write_bytes(b"s" * len("scheduler.pt") * 1000)  # as many bytes, other ones
    seal(folder, 4, known=look(other, ["scheduler.pt"], ["scheduler.pt"]))
    assert sums(folder) == truth(folder)
    assert verify(folder) == ""


def test_a_change_that_keeps_the_size_is_found(folder):
    seal(folder, 4)
    changed = folder / "optim/__1_0.distcp"
    data = bytearray(changed.read_bytes())
    data[500] ^= 1
    stat = changed.stat()
    changed.write_bytes(data)
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert verify(folder) == "optim/__1_0.distcp has changed since it was saved"


def test_a_checkpoint_in_parts_is_no_model(tmp_path, host):
    (tmp_path / "pytorch_model_fsdp_0").mkdir()
    with pytest.raises(RequestError, match="cut up among processes"):
        locate(ModelOptions(model_name_or_path=str(tmp_path)), host.catalog)
