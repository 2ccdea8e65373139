"""What a 70B full fine-tune on 64 GPUs and 10 billion tokens take, on paper: the tables of docs/scaling.md.

    python bench/scaling.py             print the tables
    python bench/scaling.py --write     put them into docs/scaling.md
    python bench/scaling.py --measure   first take the measured parts anew (this machine, .bench/results/data_*.json)

Everything assumed stands in `Assumed`, everything measured in bench/scaling.json; the rest is arithmetic.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from record import OURS, ROOT, read
from report import RESULTS, number

MEASURED = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "scaling.md"
MARKED = re.compile(r"(<!-- computed: (?P<name>[\w-]+) -->\n).*?(<!-- /computed -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Assumed:
    """Inputs that nobody measured here.

    Attributes:
        parameters, blocks, hidden, words: a LLaMA 3 of 70B.
        tokens, row: tokens of the corpus and of a packed row.
        gpus, per_node, gpu_memory: devices, of a machine, and bytes of each.
        peak: dense bf16 operations a second of a device (H100 SXM data sheet).
        utilisation: share of the peak that is reached (MFU); 0.35 to 0.45 is what is published for such runs.
        network: bytes a second into one machine: eight adapters of 400 Gb/s at 80 %.
        disk_all, disk_one: bytes a second to a shared file system, of all machines together and of one process.
        cores: cores of a machine.
        minutes: minutes between two checkpoints.
        failures: failures of a GPU in a day (arXiv:2407.21783, section 3.3.4: 419 in 54 days of 16,384).
    """

    parameters: float = 70.6e9
    blocks: int = 80
    hidden: int = 8192
    words: int = 128_256
    tokens: float = 10e9
    row: int = 4096
    gpus: int = 64
    per_node: int = 8
    gpu_memory: float = 80e9
    peak: float = 989e12
    utilisation: float = 0.40
    network: float = 8 * 50e9 * 0.8
    disk_all: float = 20e9
    disk_one: float = 2e9
    cores: int = 96
    minutes: float = 60
    failures: float = 419 / 54 / 16_384

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.gpus // self.per_node


def operations(a: Assumed) -> float:
    """Of a token: 6 for a parameter (arXiv:2001.08361, section 2.1), and causal attention, 6 · blocks · width · row."""
    return 6 * a.parameters + 6 * a.blocks * a.hidden * a.row


def compute_seconds(a: Assumed, rows: int) -> float:
    """Of a forward and backward pass over this many rows on every GPU."""
    return operations(a) * rows * a.row / (a.peak * a.utilisation)


def training_seconds(a: Assumed) -> float:
    """Of all tokens, when nothing but the matrix products takes time."""
    return operations(a) * a.tokens / (a.gpus * a.peak * a.utilisation)


def memory(a: Assumed, rows: int) -> dict[str, float]:
    """Bytes on a GPU: everything sharded over all, fp32 weights, gradients and AdamW states, bf16 products."""
    block = a.parameters / a.blocks
    return {
        "weights in fp32, sharded (4 bytes a parameter)": 4 * a.parameters / a.gpus,
        "gradients in fp32, sharded (4)": 4 * a.parameters / a.gpus,
        "AdamW states in fp32, sharded (8)": 8 * a.parameters / a.gpus,
        "two blocks gathered in bf16, one block's gradients in fp32": 2 * 2 * block + 4 * block,
        f"activations kept, {rows} rows of {a.row} (one bf16 hidden state a block)": 2.0 * a.blocks * a.hidden * a.row
        * rows,
        "one block recomputed (34 bytes a hidden value, arXiv:2205.05198)": 34.0 * a.hidden * a.row * rows,
        "logits of all rows at once in fp32, with gradients (FSDP2 forms no chunks)": 8.0 * a.words * a.row * rows,
    }  # fmt: skip


def traffic(a: Assumed) -> dict[str, float]:
    """Bytes that a pass moves: weights gathered in bf16 forward and backward, gradients scattered in fp32."""
    share = (a.gpus - 1) / a.gpus
    return {"weights gathered, forward": 2 * a.parameters * share, "weights gathered, backward": 2 * a.parameters
            * share, "gradients reduced and scattered": 4 * a.parameters * share}  # fmt: skip


def traffic_seconds(a: Assumed, network: float | None = None) -> float:
    """Of a pass's traffic when each machine takes everything in once, all its adapters together."""
    return sum(traffic(a).values()) / (network or a.network)


def checkpoint_bytes(a: Assumed) -> float:
    """fp32 weights and AdamW states."""
    return 12 * a.parameters


def sharded_seconds(a: Assumed, digest: float) -> float:
    """Of a checkpoint of which each process writes its part, all at once, and hashes it."""
    return checkpoint_bytes(a) / a.disk_all + checkpoint_bytes(a) / digest / a.gpus


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def hours(seconds: float) -> str:
    """A time in the unit that reads best."""
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def table_time(a: Assumed, measured: dict[str, float]) -> list[str]:
    """Operations and time of the whole run."""
    return [
        row("what", "formula", "value"), row("---", "---", "---"),
        row("operations of a token", "6N + 6 · blocks · hidden · row", f"{operations(a):.3g}"),
        row("operations of the run", "× tokens", f"{operations(a) * a.tokens:.3g}"),
        row("operations a second", "GPUs × peak × utilisation", f"{a.gpus * a.peak * a.utilisation:.3g}"),
        row("time of the run", "", hours(training_seconds(a))),
        row("tokens a second", "", f"{a.tokens / training_seconds(a):,.0f}"),
    ]  # fmt: skip


def table_memory(a: Assumed, measured: dict[str, float]) -> list[str]:
    """Memory of a GPU for one and two rows."""
    one, two = memory(a, 1), memory(a, 2)
    lines = [row("GB on each GPU", "1 row", "2 rows"), row("---", "---", "---")]
    for (name, x), y in zip(one.items(), two.values(), strict=True):
        lines.append(row(name.replace(", 1 rows of", ", rows of"), f"{x / 1e9:.1f}", f"{y / 1e9:.1f}"))
    sums = (sum(one.values()), sum(two.values()))
    return [*lines, row(f"all, of {a.gpu_memory / 1e9:.0f}", *(f"{value / 1e9:.1f}" for value in sums))]


def table_traffic(a: Assumed, measured: dict[str, float]) -> list[str]:
    """Traffic of a pass against its computation, on three networks."""
    lines = [row("bytes into a machine in one pass", "GB"), row("---", "---")]
    lines += [row(name, f"{size / 1e9:.0f}") for name, size in traffic(a).items()]
    lines += ["", row("network of a machine", "traffic", "computing, 1 row", "2 rows", "rows from which it hides")]
    lines.append(row(*["---"] * 5))
    for name, speed in (("8 × 400 Gb/s", a.network), ("1 × 400 Gb/s", a.network / 8), ("1 × 100 Gb/s", a.network / 32)):
        moved, one = traffic_seconds(a, speed), compute_seconds(a, 1)
        lines.append(row(f"{name}, {speed / 1e9:.0f} GB/s", hours(moved), hours(one), hours(compute_seconds(a, 2)),
                         f"{moved / one:.2g}"))  # fmt: skip
    return lines


def table_checkpoint(a: Assumed, measured: dict[str, float]) -> list[str]:
    """What saving costs in three ways, and what failures cost."""
    size, digest = checkpoint_bytes(a), measured["sha256_bytes_per_s"]
    ways = {
        "one process gathers, writes and hashes (`FULL_STATE_DICT`)": size / a.disk_one + size / digest,
        "each process writes and hashes its part (`SHARDED_STATE_DICT`, as plugtune's example has it)": sharded_seconds(
            a, digest),
        "the same beside training, after a copy to host memory (not built)": size / a.gpus / 25e9,
    }  # fmt: skip
    failures = a.failures * a.gpus * training_seconds(a) / 86400
    lines = [row(f"a checkpoint of {size / 1e9:.0f} GB", "training stands still for",
                 f"of the run, one each {a.minutes:.0f} min"), row("---", "---", "---")]  # fmt: skip
    lines += [row(name, hours(s), f"{s / (s + 60 * a.minutes):.1%}") for name, s in ways.items()]
    return [*lines, "", f"Failures expected in the run: {failures:.2g}; each loses {a.minutes / 2:.0f} minutes on "
            f"average and one start."]  # fmt: skip


def table_data(a: Assumed, measured: dict[str, float]) -> list[str]:
    """Preparing the corpus and feeding it."""
    speed = measured["tokens_per_s"]
    process = speed / measured["cores"]
    whole = process * a.cores
    fed = a.tokens / training_seconds(a) * 8 / a.nodes  # int32 ids and labels
    return [
        row("what", "value"), row("---", "---"),
        row(f"tokens a second, measured on {measured['cores']:.0f} cores at a load of {measured['load']:.1f} beside it",
            f"{speed:,.0f}"),
        row("10 billion tokens on that machine", hours(a.tokens / speed)),
        row(f"on one machine of {a.cores} cores, if it grows with the cores", hours(a.tokens / whole)),
        row("the kept rows (int32 ids and labels)", f"{a.tokens * 8 / 1e9:.0f} GB"),
        row("reading while training, each machine its part", f"{fed / 1e6:.2g} MB/s"),
    ]  # fmt: skip


def table_bottleneck(a: Assumed, measured: dict[str, float]) -> list[str]:
    """Each part's share of an hour of training."""
    digest = measured["sha256_bytes_per_s"]
    saving = sharded_seconds(a, digest)
    parts = {
        "each process saving its part each hour": saving / (saving + 60 * a.minutes),
        "preparing rows before the start, on one machine": a.tokens / (measured["tokens_per_s"] / measured["cores"]
                                                                      * a.cores) / training_seconds(a),
        "traffic that one row of computing does not hide, 8 × 400 Gb/s": max(
            0.0, traffic_seconds(a) / compute_seconds(a, 1) - 1),
        "traffic that two rows of computing do not hide, 1 × 400 Gb/s": max(
            0.0, traffic_seconds(a, a.network / 8) / compute_seconds(a, 2) - 1),
    }  # fmt: skip
    ranked = sorted(parts.items(), key=lambda item: -item[1])
    return [row("what is lost", "against the time of computing"), row("---", "---"),
            *(row(name, f"{share:.1%}") for name, share in ranked)]  # fmt: skip


TABLES = {
    "time": table_time, "memory": table_memory, "traffic": table_traffic, "checkpoint": table_checkpoint,
    "data": table_data, "bottleneck": table_bottleneck,
}  # fmt: skip


def measure() -> dict[str, float]:
    """SHA-256 of one core now; tokens a second of data preparation from the results that `make bench` left.

    Raises:
        FileNotFoundError: data preparation has not been measured.
    """
    block, started, count = bytes(2**26), time.process_time(), 0
    digest = hashlib.sha256()
    while time.process_time() - started < 2:
        digest.update(block)
        count += len(block)
    speed = count / (time.process_time() - started)
    result = read(RESULTS / "data_prep.json")
    fresh = next(m for m in result.measurements if m.title.startswith("From the file"))
    found = re.search(r"([\d,]+) tokens", " ".join(fresh.notes))
    if found is None:
        raise ValueError("the result of data preparation does not say how many tokens there were")
    tokens = int(found[1].replace(",", ""))
    seconds = sorted(fresh.sides[OURS])[len(fresh.sides[OURS]) // 2]
    return {"sha256_bytes_per_s": round(speed), "tokens_per_s": round(tokens / seconds),
            "cores": result.about["machine"]["cores"], "load": result.about["load"]}  # fmt: skip


def filled(text: str) -> str:
    """A page with its tables computed anew."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    return MARKED.sub(lambda m: m[1] + "\n".join(TABLES[m["name"]](Assumed(), measured)) + "\n" + m[3], text)


def main() -> None:
    """Print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    parser.add_argument("--measure", action="store_true", help="take the measured parts anew")
    args = parser.parse_args()
    if args.measure:
        MEASURED.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    if args.write:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name, table in TABLES.items():
        print(f"{name}: {', '.join(f'{k} {number(v)}' for k, v in measured.items())}\n")
        print("\n".join(table(Assumed(), measured)), end="\n\n")


if __name__ == "__main__":
    main()
