"""Keeps this process from other machines when the policy says so.

Libraries are told to stay offline through their own switches, which child processes inherit; beyond that an audit hook
refuses every connection and look-up of Python code that does not stay on this machine.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_switched_off: list[str] = []


def switch_off(source: str) -> None:
    """From now on, in this process and what it starts; an audit hook cannot be taken away again."""
    os.environ.update(OFFLINE)
    if not _switched_off:
        _switched_off.append(source)
        sys.addaudithook(_refuse)


def _refuse(event: str, details: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = details[1]
        if isinstance(address, tuple) and not _is_here(address[0]):
            raise PermissionError(f"the network is off (policy file {_switched_off[0]}); refused: {address[0]}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not _is_here(details[0]):
        raise PermissionError(f"the network is off (policy file {_switched_off[0]}); refused: {details[0]}")


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost") or name == socket.gethostname():
        return True
    try:
        return ipaddress.ip_address(str(name).partition("%")[0]).is_loopback
    except ValueError:
        return False
