"""What several processes are worth: images per second of P processes of T threads beside one of P times T.

    python -m benchmarks.processes --data FOLDER [--processes 2] [--threads 1] [--rounds 3] [--steps 60]

FOLDER holds cifar10.npz (x_train, y_train, x_test, y_test). ResNet-20 is trained by the command line in
batches of 128; the shapes take turns round by round, and the first of two passes warms up. The efficiency is
the ratio of the medians. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch

# Few images, so that validation is short.
NETWORK = [
    *("model=resnet20", "data=npz", "data.batch_size=128", "augmentation=crop_flip", "optim=nesterov"),
    *("optim.lr=0.05", "schedule=constant", "trainer.report=false", "trainer.pictures=false"),
    *("trainer.test=false", "trainer.epochs=2", "trainer.instruments=false", "data.limit=9000"),
]


def images_per_second(processes: int, threads: int, data: Path, steps: int) -> float:
    """Return the images per second of a training's second pass of so many updates."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cnntrain", *NETWORK, f"data.path={data}"]
        command += [f"trainer.processes={processes}", f"trainer.threads={threads}"]
        command += [f"trainer.max_steps_per_epoch={steps}", f"hydra.run.dir={folder}/run"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return float([row["images_per_second"] for row in rows if "val/loss" in row][-1])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    shapes = [(1, given.processes * given.threads), (given.processes, given.threads), (1, given.threads)]
    found: dict[tuple[int, int], list[float]] = {shape: [] for shape in shapes}
    for _ in range(given.rounds):
        for shape in shapes:
            found[shape].append(images_per_second(*shape, given.data / "cifar10.npz", given.steps))
    whole = statistics.median(found[shapes[0]])
    print(f"{datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}, {os.cpu_count()} cores\n")
    print("| processes | threads each | images/s | of one process of all threads | each round |")
    print("|---|---|---|---|---|")
    for processes, threads in shapes:
        rates = found[processes, threads]
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        rate = statistics.median(rates)
        print(f"| {processes} | {threads} | {rate:.0f} | {rate / whole:.2f} | {each} |")


if __name__ == "__main__":
    main()
