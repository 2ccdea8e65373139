"""Keeps the chatter of libraries out of a run's page; silences only what says nothing about the user's run."""

from __future__ import annotations

import logging
import os
import warnings

NOISE = (
    # bitsandbytes misses a faster 4-bit kernel for CPUs with AVX512-BF16, which it would fetch from a hub as native
    # code; its built-in ones compute the same numbers.
    "Failed to load CPU gemm_4bit_forward",
    "is deprecated and will be removed in v6",  # names that core still uses for older transformers 5
    "pin_memory",
    "Setting accelerator to CPU",  # DeepSpeed, wherever it is installed; the run says its devices itself
    "istutils",  # setuptools about the order in which DeepSpeed's imports come
    "torch.distributed.",  # names that DeepSpeed still uses for older torch
)


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not any(noise in record.getMessage() for noise in NOISE)


def silence() -> None:
    """Filter known noise, then import what is noisy and slow to import in its light form; may be called again."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    for noise in NOISE:
        warnings.filterwarnings("ignore", message=f".*{noise}.*")
    for name in ("bitsandbytes", "bitsandbytes.backends.cpu.ops", "bitsandbytes.cextension", "DeepSpeed"):
        logging.getLogger(name).addFilter(_Filter())
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from plugtune.modeling.light import import_bitsandbytes

    import_bitsandbytes()
