"""Who speaks to a server on this machine: the name it was addressed by, and the page that a request comes from.

Pure functions of headers, for every server of this project. Listening on 127.0.0.1 alone keeps no browser out: a page
of another site reaches a local server through a DNS name that was pointed here, or posts to it blindly.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine reaches."""


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets; empty when there is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def knows_host(header: str, names: Collection[str], *, local: bool) -> bool:
    """Whether a server answers to the name that it was addressed by: one of `names`, or an address.

    Args:
        header: the Host header.
        names: names in lower case.
        local: the server listens on the loopback address only, so that only loopback addresses lead to it.
    """
    name = host_name(header)
    if name in names:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not local


def from_foreign_page(headers: Mapping[str, str], method: str, origins: Collection[str] = ()) -> bool:
    """Whether a browser says that a page of another site sends this request.

    Args:
        headers: in lower case.
        method: of the request.
        origins: pages that may; `*` for all.
    """
    origin = headers.get("origin")
    if "*" in origins or (origin is not None and origin in origins):
        return False
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return True
    return headers.get("sec-fetch-site") == "cross-site" and method != "GET"
