"""Measure training throughput of cnntrain and of other stacks in one run.

    python -m benchmarks.throughput --data FOLDER [--rounds 3] [--only lenet5/MNIST]

FOLDER holds mnist.npz and cifar10.npz (x_train, y_train, x_test, y_test). Every measurement is a
separate process; stacks alternate within each round, so that a slow phase of the machine affects all of them.
Ratios are of medians over rounds. cnntrain runs with its defaults: recording, checkpoints, validation (whose
time is not counted for any stack).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.workloads import BATCH_SIZE, WORKLOADS, Workload

PASSES = 3
# name of the row, stack, precision; "auto" is the default of cnntrain
ROWS = [
    ("cnntrain", "cnntrain", "auto"),
    ("cnntrain fp32", "cnntrain", "fp32"),
    ("bare bf16", "bare", "bf16"),
    ("bare fp32", "bare", "fp32"),
    ("script", "script", "fp32"),
    ("script bf16", "script", "bf16"),
    ("lightning", "lightning", "fp32"),
    ("lightning bf16", "lightning", "bf16"),
]


def measure(stack: str, precision: str, workload: Workload, root: Path) -> list[float]:
    """Return the images per second of each pass; the first one warms up."""
    if stack != "cnntrain":
        from .stacks import STACKS

        return STACKS[stack](workload, root, PASSES, precision == "bf16")
    from cnntrain.cli import main

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        overrides = [
            *workload.overrides(),
            f"data.root={root}",
            f"hydra.run.dir={run}",
            f"trainer.epochs={PASSES}",
            f"trainer.max_steps_per_epoch={workload.batches}",
            f"trainer.precision={precision}",
        ]
        assert main(overrides) == 0
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["images_per_second"] for row in rows if "val/loss" in row]


def in_own_process(stack: str, precision: str, name: str, root: Path) -> dict[str, float]:
    """Measure in a new process; return throughput (median of the passes after the first) and peak memory."""
    arguments = ["--data", str(root), "--child", stack, precision, name]
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise SystemExit(completed.stderr)
    result: dict[str, float] = json.loads(completed.stdout.splitlines()[-1])
    return result


def child(stack: str, precision: str, name: str, root: Path) -> None:
    """Measure in this process and print the result as the last line."""
    rates = measure(stack, precision, WORKLOADS[name], root)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": statistics.median(rates[1:]), "memory": memory}))


def table(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Return the results as Markdown."""
    lines = ["| workload | stack | images/s | cnntrain is | peak MiB |", "|---|---|---|---|---|"]
    for name, stacks in results.items():
        own = {
            precision: statistics.median(entry["rate"] for entry in stacks[row])
            for row, precision in (("cnntrain", "auto"), ("cnntrain fp32", "fp32"))
        }
        for row, stack, precision in ROWS:
            rate = statistics.median(entry["rate"] for entry in stacks[row])
            memory = statistics.median(entry["memory"] for entry in stacks[row])
            against = own["fp32" if stack == "bare" and precision == "fp32" else "auto"]
            ratio = "" if stack == "cnntrain" else f"{against / rate:.2f}x"
            lines.append(f"| {name} | {row} | {rate:.0f} | {ratio} | {memory:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WORKLOADS, action="append")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    root = arguments.data.resolve()
    if arguments.child:
        stack, precision, name = arguments.child
        child(stack, precision, name, root)
        return
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name in arguments.only or WORKLOADS:
        results[name] = {row: [] for row, _, _ in ROWS}
        for number in range(arguments.rounds):
            for row, stack, precision in ROWS:
                result = in_own_process(stack, precision, name, root)
                results[name][row].append(result)
                print(f"{name} round {number + 1} {row}: {result['rate']:.0f} images/s", file=sys.stderr)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}\n")
    print(f"{arguments.rounds} rounds, {PASSES - 1} measured passes each, batches of {BATCH_SIZE}\n")
    print(table(results))


def machine() -> str:
    """Return a description of the machine."""
    import torch

    from cnntrain.training.precision import bf16_unit

    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cpu = f"{len(names)} cores of {names[0]} ({bf16_unit(torch.device('cpu')) or 'no bf16 unit'})"
    return f"{cpu}, Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
