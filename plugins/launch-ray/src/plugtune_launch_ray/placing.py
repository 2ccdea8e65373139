"""Who is who among placed processes: ranks, local ranks, where they meet and which devices each sees. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plugtune_launch_ray.worker import DEVICES


def in_order(places: Sequence[Mapping[str, Any]]) -> list[int]:
    """Numbers of the workers in order of rank: those of a machine stand together, the first one's machine first."""
    nodes = list(dict.fromkeys(place["node"] for place in places))
    return sorted(range(len(places)), key=lambda number: nodes.index(places[number]["node"]))


def environments(
    places: Sequence[Mapping[str, Any]], address: str | None = None, port: int | None = None
) -> list[dict[str, str]]:
    """torchrun's variables for processes that are in order of rank.

    A process sees the devices of all processes of its machine and uses the one of its local rank, as under torchrun.

    Args:
        places: what each worker says of itself (`Worker.place`).
        address, port: where they meet; that of the first when left out.
    """
    found = []
    for rank, place in enumerate(places):
        together = [number for number, other in enumerate(places) if other["node"] == place["node"]]
        devices = [device for number in together for device in places[number]["devices"]]
        variables = {
            "RANK": rank, "WORLD_SIZE": len(places), "LOCAL_RANK": together.index(rank),
            "LOCAL_WORLD_SIZE": len(together), "MASTER_ADDR": address or places[0]["address"],
            "MASTER_PORT": port or places[0]["port"],
        }  # fmt: skip
        found.append({name: str(value) for name, value in variables.items()})
        if devices:
            found[-1][DEVICES] = ",".join(devices)
    return found
