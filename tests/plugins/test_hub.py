"""The real hub code against a server of our own: a model is fetched, cached, and found again when the server is gone."""

from __future__ import annotations

import hashlib
import json
import os
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
located = locate(ModelOptions(model_name_or_path=sys.argv[1], cache_dir=sys.argv[2]), PluginHost().load().catalog)
print(located.model_type, sorted(p.name for p in located.folder.iterdir()))
"""


@pytest.fixture
def hub(model_dir: Path):
    files = {p.name: p.read_bytes() for p in model_dir.iterdir()} | {
        "modeling_evil.py": b"raise SystemExit",
        "pytorch_model.bin": b"x",
    }

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/api/models/team/tiny/tree/"):
                listing = [
                    {"type": "file", "path": n, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
                    for n, b in files.items()
                ]
                self.send(json.dumps(listing).encode(), body)
            elif path.startswith("/api/models/team/tiny"):
                info = {"id": "team/tiny", "sha": SHA, "siblings": [{"rfilename": name} for name in files]}
                self.send(json.dumps(info).encode(), body)
            elif path.startswith("/team/tiny/resolve/") and path.rpartition("/")[2] in files:
                self.send(files[path.rpartition("/")[2]], body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send(self, content: bytes, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", SHA)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(endpoint: str, name: str, cache: Path, offline: str = "0") -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": offline,
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, "-c", CODE, name, str(cache)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_model_comes_from_the_hub_without_code_or_pickles_and_stays_in_the_cache(hub, tmp_path):
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
    done = fetch(endpoint, "team/tiny", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("llama")
    assert "model.safetensors" in done.stdout
    assert "modeling_evil.py" not in done.stdout
    assert "pytorch_model.bin" not in done.stdout
    again = fetch("http://127.0.0.1:9", "team/tiny", tmp_path, offline="1")
    assert again.stdout == done.stdout, again.stderr


def test_a_repository_that_is_not_there_is_told_without_a_traceback_of_the_library(hub, tmp_path):
    done = fetch(f"http://127.0.0.1:{hub.server_address[1]}", "team/tyni", tmp_path)
    assert "cannot be fetched from the Hugging Face hub" in done.stderr
