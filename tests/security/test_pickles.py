"""No pickle is opened: not as weights, not as an adapter, not as a value head, not on a resume."""

from __future__ import annotations

import ast
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def _plant(file: Path, marker: Path) -> None:
    file.write_bytes(pickle.dumps(Bomb(marker)))


def test_a_bomb_would_go_off(tmp_path: Path) -> None:
    _plant(tmp_path / "bomb", tmp_path / "pwned")
    pickle.loads((tmp_path / "bomb").read_bytes()).close()
    assert (tmp_path / "pwned").exists(), "else the tests below prove nothing"


@pytest.mark.e2e
def test_pickled_weights_are_refused_by_every_command_that_loads(plugtune: Any, work: Path, tmp_path: Path) -> None:
    marker = tmp_path / "pwned"
    evil = work / "models" / "evil"
    shutil.copytree(work / "models" / "tiny", evil)
    (evil / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "value_head.bin", "consolidated.00.pth"):
        _plant(evil / name, marker)
    done = plugtune("export", "--model_name_or_path", evil, "--export_dir", work / "out", cwd=work)
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    adapter = work / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}'
    )
    for name in ("adapter_model.bin", "value_head.bin"):
        _plant(adapter / name, marker)
    done = plugtune(
        "chat",
        "--model_name_or_path",
        work / "models/tiny",
        "--adapter_name_or_path",
        adapter,
        "--prompt",
        "x",
        cwd=work,
    )
    assert done.returncode in (1, 2), done.stderr
    assert not marker.exists()


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _dotted(node: ast.expr) -> str:
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_no_source_file_opens_pickles_runs_shells_or_evaluates_text() -> None:
    """Holds for code that is not written yet: the list is of what LLaMA-Factory and ms-swift were attacked through."""
    banned = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.unsafe_load", "joblib.load",
              "dill.load", "marshal.loads", "subprocess.getoutput"}  # fmt: skip
    found = []
    for file in [
        *ROOT.glob("core/src/**/*.py"),
        *ROOT.glob("plugins/*/src/**/*.py"),
        *ROOT.glob("contrib_templates/src/**/*.py"),
    ]:
        for call in _calls(ast.parse(file.read_text(encoding="utf-8"))):
            name = _dotted(call.func)
            words = {k.arg: getattr(k.value, "value", None) for k in call.keywords}
            bad = name in banned or words.get("shell") is True
            bad |= name in ("torch.load", "np.load", "numpy.load") and not (
                words.get("weights_only") is True or words.get("allow_pickle") is False
            )
            bad |= name == "yaml.load" and "Loader" not in words
            if bad:
                found.append(f"{file.relative_to(ROOT)}:{call.lineno} {name}")
    assert not found
