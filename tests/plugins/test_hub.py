"""The real hub code against a server of our own: fetched, resumed, verified, cached, and found when the server is gone."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

SHA = "a" * 40
CODE = """
import sys
from plugtune.modeling.locate import locate
from plugtune.options.groups import ModelOptions
from plugtune.plugins.host import PluginHost
options = dict(arg.split("=") for arg in sys.argv[3:])
options = ModelOptions(model_name_or_path=sys.argv[1], cache_dir=sys.argv[2], **options)
located = locate(options, PluginHost().load().catalog)
print(located.model_type, sorted(p.name for p in located.folder.iterdir()))
"""


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(ThreadingHTTPServer):
    """Speaks as much of the hub's API as a snapshot needs: one open repository, and one that wants a token.

    `cut` breaks the first download of a file off in the middle; `spoil` sends other bytes than the hash says.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.cut, self.spoil = files, "", ""
        self.seen: list[tuple[str, str]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path, files = self.path.split("?")[0], self.server.files
        self.server.seen.append((path, self.headers.get("Range", "")))
        name = next((n for n in ("team/tiny", "team/secret") if n in path), "")
        allowed = name == "team/tiny" or self.headers.get("Authorization") == "Bearer key-1"
        if not name or not allowed:
            self.refuse()
        elif path.startswith(f"/api/models/{name}/tree/"):
            listing = [{"type": "file", "path": n, "size": len(b), "oid": git_hash(b)} for n, b in files.items()]
            self.send(json.dumps(listing).encode(), "", body)
        elif path.startswith(f"/api/models/{name}"):
            info = {"id": name, "sha": SHA, "siblings": [{"rfilename": n} for n in files]}
            self.send(json.dumps(info).encode(), "", body)
        elif "/resolve/" in path and path.rpartition("/")[2] in files:
            self.send(files[path.rpartition("/")[2]], path.rpartition("/")[2], body)
        else:
            self.refuse()

    def refuse(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, content: bytes, name: str, body: bool) -> None:
        wanted = self.headers.get("Range", "")
        begin = int(wanted[6:].partition("-")[0]) if wanted else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        large = hashlib.sha256(content).hexdigest()
        self.send_header("ETag", f'"{large if name.endswith((".safetensors", ".gguf")) else git_hash(content)}"')
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if not body:
            return
        if name and name == self.server.spoil:
            content = bytes(len(content))
        if name and name == self.server.cut:
            self.server.cut = ""
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(content[begin:])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(model_dir: Path):
    files = {p.name: p.read_bytes() for p in model_dir.iterdir()}
    server = Hub(files | {"modeling_evil.py": b"raise SystemExit", "pytorch_model.bin": b"x"})
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(
    endpoint: str, name: str, cache: Path, *options: str, offline: str = "0", **more: str
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": offline,
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", CODE, name, str(cache), *options],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_model_comes_from_the_hub_without_code_or_pickles_and_stays_in_the_cache(hub, tmp_path):
    done = fetch(hub.endpoint, "team/tiny", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("llama")
    assert "model.safetensors" in done.stdout
    assert "modeling_evil.py" not in done.stdout
    assert "pytorch_model.bin" not in done.stdout
    assert "Fetching" in done.stderr or "%" in done.stderr, "progress is shown"
    again = fetch("http://127.0.0.1:9", "team/tiny", tmp_path, offline="1")
    assert again.stdout == done.stdout, again.stderr


def test_a_repository_that_is_not_there_is_told_without_a_traceback_of_the_library(hub, tmp_path):
    done = fetch(hub.endpoint, "team/tyni", tmp_path)
    assert "cannot be fetched from the Hugging Face hub" in done.stderr


def test_a_closed_repository_opens_with_the_token_and_a_revision_is_asked_for_by_name(hub, tmp_path):
    closed = fetch(hub.endpoint, "team/secret", tmp_path)
    assert "--hf_hub_token" in closed.stderr
    opened = fetch(hub.endpoint, "team/secret", tmp_path, "hf_hub_token=key-1", "model_revision=v2")
    assert opened.stdout.startswith("llama"), opened.stderr
    assert any("/revision/v2" in path or "/tree/v2" in path for path, _ in hub.seen)


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub, tmp_path):
    hub.files["large.gguf"] = hub.files["model.safetensors"][:1000] * 24_000  # the client keeps pieces of 10 MB
    hub.cut = "large.gguf"
    first = fetch(hub.endpoint, "team/tiny", tmp_path)
    done = first if first.returncode == 0 else fetch(hub.endpoint, "team/tiny", tmp_path)
    assert done.stdout.startswith("llama"), done.stderr
    ranges = [r for path, r in hub.seen if path.endswith("large.gguf") and r and r != "bytes=0-"]
    assert ranges, "the rest alone is asked for"
    (kept,) = tmp_path.rglob("large.gguf")
    assert kept.read_bytes() == hub.files["large.gguf"]


def test_a_file_that_arrives_damaged_is_named_and_not_kept(hub, tmp_path):
    hub.spoil = "model.safetensors"
    done = fetch(hub.endpoint, "team/tiny", tmp_path)
    assert "model.safetensors of 'team/tiny' arrived damaged" in done.stderr
    hub.spoil = ""
    again = fetch(hub.endpoint, "team/tiny", tmp_path)
    assert again.stdout.startswith("llama"), again.stderr


def test_the_option_wins_over_the_environments_switch(hub, tmp_path):
    done = fetch(hub.endpoint, "team/tiny", tmp_path, "hub=huggingface", USE_MODELSCOPE_HUB="1")
    assert done.stdout.startswith("llama"), done.stderr
