"""Puts the peers into environments of their own, so that both sides run in one session on one machine.

LLaMA-Factory pins older libraries than plugtune's and gets its own environment in `.bench/llamafactory`; TRL is
measured in plugtune's environment, on the same torch and transformers. `PLUGTUNE_BENCH_LF` names a python instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("PLUGTUNE_BENCH_HOME") or ROOT / ".bench")
LLAMAFACTORY = "0.9.5"
# The newest that its own pins allow; torchvision, torchaudio and av are not needed for text.
REQUIREMENTS = (
    "transformers>=4.55.0,<=5.6.0,!=4.57.0", "peft>=0.18.0,<=0.18.1", "trl>=0.18.0,<=0.24.0", "accelerate<=1.11.0",
    "datasets<=4.0.0", "gradio>=4.38.0,<=5.50.0", "einops", "fastapi", "fire", "hf-transfer", "matplotlib",
    "modelscope", "omegaconf", "pandas", "protobuf", "pydantic", "pyyaml", "safetensors", "scipy", "sentencepiece",
    "sse-starlette", "tiktoken", "torchdata>=0.10.0,<=0.11.0", "tyro<0.9.0", "uvicorn", "bitsandbytes", "psutil",
)  # fmt: skip


def llamafactory() -> str:
    """The python of an environment with LLaMA-Factory, made on first use."""
    given = os.environ.get("PLUGTUNE_BENCH_LF")
    if given:
        return given
    python = HOME / "llamafactory" / "bin" / "python"
    done = HOME / "llamafactory" / ".done"
    if not done.exists():
        import torch

        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"torch=={torch.__version__.partition('+')[0]}"], check=True)
        subprocess.run([*pip, *REQUIREMENTS], check=True)
        subprocess.run([*pip, "--no-deps", f"llamafactory=={LLAMAFACTORY}"], check=True)
        # Its data module imports torchaudio at the top and uses it for sound only: an empty module is enough.
        packages = next((python.parents[1] / "lib").glob("python3*")) / "site-packages" / "torchaudio"
        packages.mkdir(exist_ok=True)
        (packages / "__init__.py").touch()
        done.touch()
    return str(python)


def smollm2() -> Path:
    """A plain folder of SmolLM2-135M-Instruct, made as the demo makes it."""
    folder = HOME / "smollm2-135m"
    if not (folder / "config.json").is_file():
        sys.path.insert(0, str(ROOT / "scripts"))
        import demo

        gguf = demo.fetch_model(HOME / "download")
        command = [sys.executable, "-m", "plugtune", "export", "--model_name_or_path", str(gguf)]
        subprocess.run([*command, "--export_dir", str(folder)], check=True)
    return folder


def environment(**more: str) -> dict[str, str]:
    """The environment of a measured process: threads that do not spin, no GPU, no network, a start that is known.

    `PLUGTUNE_BENCH_THREADS` says how many threads; as many as there are cores when left out.
    """
    threads = os.environ.get("PLUGTUNE_BENCH_THREADS") or str(os.cpu_count() or 1)
    return {
        **os.environ, "OMP_NUM_THREADS": threads, "PLUGTUNE_BENCH_STARTED": repr(time.time()),
        "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
        "WANDB_DISABLED": "true", "TOKENIZERS_PARALLELISM": "false", "DISABLE_VERSION_CHECK": "1", **more,
    }  # fmt: skip
