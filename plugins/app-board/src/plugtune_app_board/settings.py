"""How a board was started: address, folders, permissions. Read once from flags and environment, then only looked at."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plugtune.errors import RequestError
from plugtune.visitors import LOOPBACK

from plugtune_app_board.confine import Roots

TOKEN = "PLUGTUNE_BOARD_TOKEN"
AUTH = "PLUGTUNE_BOARD_AUTH"


@dataclass(frozen=True, slots=True)
class Settings:
    """One board.

    Attributes:
        host, port: where it listens.
        roots: the folders that pages may name; the first is the working folder.
        auth: user and password of the login page.
        token: the secret in the address of the first visit.
        allowed_hosts: names under which a browser may address the board, besides addresses and this machine's.
        allow_code: whether code that comes with models may run.
        demo: look, do not touch: nothing is started, loaded or written.
        root_path: the path that a reverse proxy puts before the board's.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    roots: Roots = field(default_factory=lambda: Roots.of(["."]))
    auth: tuple[str, str] | None = None
    token: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allow_code: bool = False
    demo: bool = False
    root_path: str = ""

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    @property
    def work(self) -> Path:
        """The working folder."""
        return self.roots.folders[0]

    @property
    def saves(self) -> Path:
        """Where runs are kept: `saves/MODEL/METHOD/RUN`."""
        return self.work / "saves"

    @property
    def state(self) -> Path:
        """Where the board keeps its own files: job records, saved settings, what was chosen last."""
        return self.saves / ".board"


def read_settings(
    *, host: str | None = None, port: int | None = None, auth: str | None = None, work: str = ".",
    allow_root: Sequence[str] = (), allowed_host: Sequence[str] = (), allow_code: bool = False, demo: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Settings:  # fmt: skip
    """The settings of these flags; `GRADIO_SERVER_NAME`, `GRADIO_SERVER_PORT` and `GRADIO_ROOT_PATH` stand in for them.

    A board that others can reach and that has neither login nor token gets a token of its own.

    Raises:
        RequestError: `auth` is not `user:password`, the port is none, or the working folder does not exist.
    """
    env = os.environ if environ is None else environ
    host = host or env.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    given = port if port is not None else env.get("GRADIO_SERVER_PORT") or 7860
    try:
        number = int(given)
    except ValueError as error:
        raise RequestError(f"{given!r} is no port", where="GRADIO_SERVER_PORT") from error
    auth = auth or env.get(AUTH)
    pair = _pair(auth) if auth else None
    if not Path(work).is_dir():
        raise RequestError(f"the working folder {work} does not exist", where="--work-dir")
    token = env.get(TOKEN, "")
    reachable = host not in LOOPBACK
    if reachable and pair is None and not token:
        token = secrets.token_urlsafe(24)
    return Settings(
        host.strip("[]"), number, Roots.of([work, *allow_root]), pair, token, tuple(allowed_host), allow_code, demo,
        env.get("GRADIO_ROOT_PATH", ""),
    )  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon or not user or not password:
        raise RequestError("a login is user:password", where="--auth")
    return user, password
