"""How many processes are started, what they agree on, and which rows each of them sees."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import torch
from plugtune.errors import RequestError, RunError
from plugtune.options.reader import read_request
from plugtune.training import launch
from plugtune.training.order import FilledRows, Order
from plugtune.training.world import World


@pytest.fixture(autouse=True)
def no_devices(monkeypatch):
    monkeypatch.setattr(launch, "device_count", lambda: 0)


def wanted(flags: str = "", **environ: str):
    return launch.wanted(read_request(flags.split()), environ)


def test_one_device_needs_no_launcher_and_workers_never_launch_again():
    assert wanted() is None
    assert wanted(NPROC_PER_NODE="2", RANK="0", WORLD_SIZE="2") is None


def test_the_usual_variables_start_the_usual_processes():
    two = wanted(NPROC_PER_NODE="2")
    assert (two.processes, two.nodes, two.address) == (2, (1, 1), "127.0.0.1")
    assert two.line().startswith("torchrun --nproc_per_node 2 -m plugtune train")
    assert wanted(FORCE_TORCHRUN="1").processes == 1
    assert wanted("--deepspeed ds.json").why == "deepspeed"
    far = wanted(NNODES="2", NODE_RANK="1", NPROC_PER_NODE="8", MASTER_ADDR="10.0.0.1", MASTER_PORT="29501")
    assert far.line() == (
        "torchrun --nproc_per_node 8 --nnodes 2 --node_rank 1 --master_addr 10.0.0.1 --master_port 29501 "
        "-m plugtune train ..."
    )
    elastic = wanted(MIN_NNODES="1", MAX_NNODES="3", RDZV_ID="job", MASTER_ADDR="h", MAX_RESTARTS="2")
    assert "--nnodes 1:3 --rdzv_id job --rdzv_backend c10d --rdzv_endpoint h:29500 --max_restarts 2" in elastic.line()


def test_every_device_of_the_machine_gets_a_process(monkeypatch):
    monkeypatch.setattr(launch, "device_count", lambda: 4)
    assert wanted().processes == 4
    assert wanted("--use_cpu true") is None
    with pytest.raises(RequestError, match="has 4 devices"):
        wanted(NPROC_PER_NODE="8")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"NPROC_PER_NODE": "two"}, "NPROC_PER_NODE is 'two'"),
        ({"NNODES": "2"}, "no place to meet"),
        ({"NNODES": "2", "MASTER_ADDR": "h", "NODE_RANK": "2"}, "NODE_RANK 2 of 2"),
        ({"MIN_NNODES": "1", "MAX_NNODES": "2", "MASTER_ADDR": "h"}, "RDZV_ID"),
    ],
)
def test_wrong_variables_are_named(environ, message):
    with pytest.raises(RequestError, match=message):
        wanted(**environ)


def worlds(size: int) -> list[World]:
    store = torch.distributed.HashStore()
    store.set_timeout(timedelta(seconds=20))
    return [World(rank, size, rank, size, 0, store) for rank in range(size)]


def test_the_first_process_of_a_machine_prepares_before_the_others():
    seen: list[int] = []

    def work(world: World) -> None:
        with world.local_first("rows"):
            seen.append(world.rank)

    first, second, third = worlds(3)
    threads = [threading.Thread(target=work, args=(world,)) for world in (third, second)]
    for thread in threads:
        thread.start()
    threads[0].join(0.3)
    assert seen == []
    work(first)
    for thread in threads:
        thread.join()
    assert seen[0] == 0
    assert sorted(seen) == [0, 1, 2]


def test_processes_with_other_plugins_or_options_are_refused_by_name():
    first, second = worlds(2)
    first.must_agree("options", {"learning_rate": 1e-4, "seed": 1})
    second.must_agree("options", {"learning_rate": 1e-4, "seed": 1})
    with pytest.raises(RequestError, match=r"learning_rate: 0.0001 in process 0, 0.001 here"):
        second.must_agree("options", {"learning_rate": 1e-3, "seed": 1})


def test_only_the_first_of_several_failures_is_told():
    first, second = worlds(2)
    errors = []
    for world in (second, first):
        with pytest.raises(RunError) as caught, world.one_voice():
            raise RunError("broken")
        errors.append(caught.value)
    assert [error.plugtune_quiet for error in errors] == [False, True]


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 23])
def test_every_row_is_seen_once_by_exactly_one_process(rows):
    """Batches are dealt out in turn, as accelerate does; rows beyond the last have no label."""
    data = FilledRows([{"input_ids": [n, n], "labels": [n, n]} for n in range(rows)],
                      {"input_ids": [0], "labels": [-100]})  # fmt: skip
    order = Order(rows, shuffle=True, seed=5, multiple=2 * 4)
    numbers = list(order)
    assert len(numbers) == len(order)
    assert len(order) % 8 == 0
    batches = [numbers[i : i + 4] for i in range(0, len(numbers), 4)]
    shares = [batches[rank::2] for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    seen = [data[n] for share in shares for batch in share for n in batch]
    assert sorted(row["labels"][0] for row in seen if row["labels"] != [-100]) == list(range(rows))


def test_each_epoch_has_its_own_order_which_is_the_stock_one():
    order = Order(10, shuffle=True, seed=42)
    first, second = list(order), list(order)
    assert first != second
    assert first == torch.randperm(10, generator=torch.Generator().manual_seed(42)).tolist()
    order.set_epoch(0)
    assert list(order) == first
    assert list(Order(5, shuffle=False, seed=0)) == [0, 1, 2, 3, 4]
