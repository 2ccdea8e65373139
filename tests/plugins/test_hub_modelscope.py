"""The ModelScope client against a server of our own: fetched without code or pickles, cached, found when it is gone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("modelscope_hub")

MODEL = """
import sys
from plugtune.modeling.locate import locate
from plugtune.options.groups import ModelOptions
from plugtune.plugins.host import PluginHost
more = dict(arg.split("=") for arg in sys.argv[4:])
options = ModelOptions(
    model_name_or_path=sys.argv[1], cache_dir=sys.argv[2], ms_hub_token=sys.argv[3] or None, **more
)
located = locate(options, PluginHost().load().catalog)
print(located.model_type, sorted(p.name for p in located.folder.iterdir() if not p.name.startswith(".")))
"""
ROWS = """
import sys
from plugtune.data.pipeline import raw_rows
from plugtune.data.registry import Registry
from plugtune.plugins.host import PluginHost
spec = Registry.open(PluginHost().load().catalog, sys.argv[1]).resolve("x")
print(spec.hub, [row.values["output"] for row in raw_rows(spec)])
"""


@pytest.fixture
def hub(model_dir: Path):
    model = {p.name: p.read_bytes() for p in model_dir.iterdir()}
    model |= {"modeling_evil.py": b"raise SystemExit", "pytorch_model.bin": b"x"}
    rows = {"data/train.json": json.dumps([{"instruction": "a", "output": "b"}]).encode()}
    repositories = {"models/team/tiny": model, "models/team/secret": model, "datasets/team/rows": rows}
    seen: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            parts, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
            name = parts.path.removeprefix("/api/v1/").partition("/repo")[0]
            identity = self.headers.get("Authorization", "") + self.headers.get("Cookie", "")
            seen.append((parts.path, query.get("Revision", [""])[0], identity))
            files = repositories.get(name)
            if files is None or (name.endswith("secret") and "key-1" not in identity):
                self.send(404, json.dumps({"Code": 10010205001, "Message": "not exist", "Success": False}).encode())
            elif "FilePath" in query:
                content = files.get(query["FilePath"][0])
                if content and query["FilePath"][0] == server.spoil:
                    content = bytes(len(content))
                self.send(404 if content is None else 200, content or b"")
            else:
                listing = [
                    {
                        "Path": n,
                        "Name": n.rpartition("/")[2],
                        "Type": "blob",
                        "Size": len(b),
                        "Sha256": hashlib.sha256(b).hexdigest(),
                    }
                    for n, b in files.items()
                ]
                self.send(200, json.dumps({"Code": 200, "Data": {"Files": listing}, "Success": True}).encode())

        def send(self, status: int, content: bytes) -> None:
            begin = 0
            if status == 200 and (wanted := self.headers.get("Range", "")).startswith("bytes="):
                begin, status = int(wanted[6:].partition("-")[0]), 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[begin:])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.spoil = seen, ""
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def run(code: str, *args: object, endpoint: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ, "MODELSCOPE_ENDPOINT": endpoint, "USE_MODELSCOPE_HUB": "1", "NO_PROXY": "127.0.0.1",
        "HF_HUB_OFFLINE": "0", "MODELSCOPE_HOME": str(home), "MODELSCOPE_CACHE": str(home / "cache"), "HOME": str(home),
        **more,
    }  # fmt: skip
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_a_model_comes_without_code_or_pickles_and_stays_in_the_cache(hub, tmp_path):
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
    done = run(MODEL, "team/tiny", tmp_path / "kept", "", endpoint=endpoint, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("llama")
    assert "model.safetensors" in done.stdout
    assert "modeling_evil.py" not in done.stdout
    assert "pytorch_model.bin" not in done.stdout
    assert (tmp_path / "kept").is_dir()
    # The default revision of a run is `main`; this hub calls its default branch otherwise.
    assert {revision for path, revision, _ in hub.seen if "/repo/" in path or path.endswith("/repo")} == {"master"}
    hub.seen.clear()
    offline = run(MODEL, "team/tiny", tmp_path / "kept", "", endpoint=endpoint, home=tmp_path, MODELSCOPE_OFFLINE="1")
    assert offline.stdout == done.stdout, offline.stderr
    assert not hub.seen


def test_a_repository_that_is_not_there_or_not_open_is_told_in_one_message(hub, tmp_path):
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
    done = run(MODEL, "team/tyni", tmp_path, "", endpoint=endpoint, home=tmp_path)
    assert "model 'team/tyni' cannot be fetched from ModelScope" in done.stderr
    closed = run(MODEL, "team/secret", tmp_path, "", endpoint=endpoint, home=tmp_path)
    assert "--ms_hub_token" in closed.stderr
    opened = run(MODEL, "team/secret", tmp_path, "key-1", endpoint=endpoint, home=tmp_path)
    assert opened.stdout.startswith("llama"), opened.stderr


def test_importing_the_plugin_imports_no_client():
    code = "import sys, plugtune_hub_modelscope; print([m for m in ('modelscope_hub', 'requests', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_offline_without_a_cache_says_so(tmp_path):
    done = run(MODEL, "team/tiny", tmp_path, "", endpoint="http://127.0.0.1:9", home=tmp_path, MODELSCOPE_OFFLINE="1")
    assert "the hub is switched off" in done.stderr


def test_a_data_set_that_names_both_hubs_comes_from_the_one_that_is_chosen(hub, tmp_path):
    entry = {"x": {"ms_hub_url": "team/rows", "hf_hub_url": "team/mirror"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(entry))
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
    done = run(ROWS, tmp_path, endpoint=endpoint, home=tmp_path)
    assert done.stdout.strip() == "modelscope ['b']", done.stderr


def test_the_option_chooses_this_hub_without_its_switch(hub, tmp_path):
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
    done = run(
        MODEL, "team/tiny", tmp_path, "", "hub=modelscope", endpoint=endpoint, home=tmp_path, USE_MODELSCOPE_HUB="0"
    )
    assert done.stdout.startswith("llama"), done.stderr


def test_a_file_that_arrives_damaged_is_refused(hub, tmp_path):
    hub.spoil = "model.safetensors"
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
    done = run(MODEL, "team/tiny", tmp_path / "kept", "", endpoint=endpoint, home=tmp_path)
    assert done.returncode != 0
    assert "model 'team/tiny' cannot be fetched from ModelScope" in done.stderr
