"""What makes a run fit: changes in the order in which they cost least, each with the peak that it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from plugtune.modeling.memory import Setting, Trained, estimate
from plugtune.modeling.shape import Shape

Change = Callable[[Trained, Setting], tuple[Trained, Setting]]


def advise(
    shape: Shape, trained: Trained, setting: Setting, free: int, adapted: tuple[str, Trained] | None
) -> tuple[tuple[str, int], ...]:
    """Changes in the order in which they cost least, each on top of those before it, until it fits."""
    steps: list[tuple[str, Change]] = [
        ("--gradient_checkpointing true", lambda t, s: (t, replace(s, checkpointing=True))),
        ("a batch of one row, with more --gradient_accumulation_steps", lambda t, s: (t, _one_row(s))),
        ("--optim adamw_8bit", lambda t, s: (t, replace(s, optimizer="adamw_8bit") if t.whole else s)),
    ]
    if adapted is not None:
        name, thin = adapted
        steps += [
            (f"--finetuning_type {name}", lambda t, s: (thin if t.whole else t, s)),
            ("--quantization_bit 8", lambda t, s: (t, replace(s, bits=s.bits or 8))),
            ("--quantization_bit 4", lambda t, s: (t, replace(s, bits=4))),
        ]
    steps += [
        ("half the --cutoff_len", lambda t, s: (t, replace(s, tokens=s.tokens // 2, targets=s.targets // 2))),
        ("four devices that share the weights (ZeRO-3, FSDP)", lambda t, s: (t, replace(s, world=4, shard=3))),
    ]
    found = []
    best = estimate(shape, trained, setting).peak
    for text, change in steps:
        now, how = change(trained, setting)
        peak = estimate(shape, now, how).peak
        if peak >= best:
            continue
        trained, setting, best = now, how, peak
        found.append((text, peak))
        if peak <= free:
            break
    return tuple(found)


def _one_row(setting: Setting) -> Setting:
    """A batch of one row."""
    if not setting.longest or setting.tokens <= setting.longest:
        return setting
    share = setting.longest / setting.tokens
    return replace(setting, tokens=setting.longest, targets=max(int(setting.targets * share), 1), accumulation=2)
