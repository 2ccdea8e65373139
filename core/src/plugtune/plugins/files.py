"""The files of a plugin's package: where they are, a cheap signature to notice edits, and a hash for provenance."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator


def package_root(module: str) -> str:
    """Folder or file of a module's top package, found without importing it; empty when it cannot be found."""
    try:
        spec = importlib.util.find_spec(module.partition(":")[0].partition(".")[0].strip())
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    if spec.submodule_search_locations:
        return os.path.abspath(next(iter(spec.submodule_search_locations)))
    return os.path.abspath(spec.origin) if spec.has_location and spec.origin else ""


def tree_signature(root: str) -> str:
    """Changes when a file below `root` appears, goes, grows or is written; reads no file."""
    if not root:
        return ""
    digest = hashlib.sha1(usedforsecurity=False)
    for name, path in walk(root):
        try:
            stat = os.stat(path)
        except OSError:
            continue
        digest.update(f"{name}\0{stat.st_mtime_ns}\0{stat.st_size}\n".encode())
    return digest.hexdigest()


def tree_hash(root: str) -> str:
    """Hex SHA-256 over names and contents of the files below `root`; empty when there is no root."""
    if not root:
        return ""
    digest = hashlib.sha256()
    for name, path in walk(root):
        with open(path, "rb") as file:
            content = file.read()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def walk(root: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(relative name, path) of every file, in sorted order; compiled files left out. A file yields itself."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except NotADirectoryError:
        yield os.path.basename(root), root
        return
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != "__pycache__":
                yield from walk(entry.path, f"{prefix}{entry.name}/")
        elif not entry.name.endswith((".pyc", ".pyo")):
            yield prefix + entry.name, entry.path
