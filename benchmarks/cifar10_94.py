"""CIFAR-10 to 94 %: accuracy and time of experiment=cifar10_94, without single parts, and of other programs.

    python -m benchmarks.cifar10_94 --data FOLDER --out FOLDER --seeds 0 1 2
    python -m benchmarks.cifar10_94 --data FOLDER --out FOLDER --seeds 0 1 --without all
    python -m benchmarks.cifar10_94 --data FOLDER --out FOLDER --beside 'python airbench94_on_cpu.py'

data: the folder of cifar10.npz. out: an empty folder for the runs. Every training is a process of its own. A
round trains each of the recipes with one seed, and runs each program that is named by --beside once, so that
what is compared is measured in the same hour. The table has the mean over the seeds of the test accuracy,
plain and over six views (evaluate.views=mirror_shifts), and the medians of the seconds in training and of
the whole process, evaluation on the test split included, views not. Of another program, the whole process and
the last line that it prints.

--without: the recipe without these parts, or without each of them (all). --also: the recipe with these
overrides, as in --also 'trainer.initial_size=20 trainer.full_size_from=0.75'. --small: 10 000 images, half
the width and batches of 200, an eighteenth of the operations, for a first look at a part. Further arguments
are overrides of every training, as in trainer.threads=1.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# What each part of the recipe is undone by.
PARTS = {
    "whitening and identities": ["initialization=default"],
    "identities": ["initialization.identity=false"],
    "bias frozen after 3 epochs": ["initialization.bias_epochs=null"],
    "fast batch-norm statistics": ["model.norm_momentum=null"],
    "fixed batch-norm scales": ["model.norm_scale=true"],
    "gelu (relu instead)": ["model.activation=relu"],
    "normalized weights": ["optim.normalize_every=null"],
    "fast biases": ["optim.rest_lr=0.01022", "model.head_lr=1"],
    "decay of biases and head": ["regularization.biases=false", "regularization.layers.output={l2:0}"],
    "label smoothing": ["regularization.label_smoothing=0"],
    "alternating flips (random instead)": ["augmentation.alternating_flip=false", "augmentation.flip=true"],
    "small batches (the authors' settings)": [
        *("data.batch_size=2000", "optim.lr=0.24", "optim.rest_lr=106", "model.norm_momentum=0.4"),
    ],
    "shifts": ["augmentation.crop_padding=0"],
    "reflected borders (black instead)": ["augmentation.crop_fill=zeros"],
}
# Rates are those of mean losses: a fifth of the batch has a fifth of the rate, half the features of the
# head four times of it.
SMALL = [
    *("data.limit=10000", "data.batch_size=200", "model.width=0.5", "optim.rest_lr=10.6"),
    *("model.head_lr=7.716e-4", "regularization.layers.output={l2:0.0489}"),
]


@dataclass
class Row:
    """A row of the table: what was run, and the results of each seed."""

    name: str
    overrides: list[str]
    plain: list[float] = field(default_factory=list)
    views: list[float] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    def line(self) -> str:
        """Return the row in Markdown."""
        each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in self.plain)
        return (
            f"| {self.name} | {100 * statistics.fmean(self.plain):.2f} ({each}) | "
            f"{100 * statistics.fmean(self.views):.2f} | {statistics.median(self.training):.0f} | "
            f"{statistics.median(self.whole):.0f} |"
        )


def train(row: Row, seed: int, arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Train a recipe with a seed, evaluate it over views, and add the results to its row."""
    run = arguments.out / f"{re.sub(r'[^a-z0-9.]+', '_', row.name.lower())}-{seed}"
    command = [sys.executable, "-m", "cnntrain", "experiment=cifar10_94", f"seed={seed}"]
    data = ["data=npz", f"data.path={arguments.data / 'cifar10.npz'}", f"hydra.run.dir={run}"]
    started = time.perf_counter()
    subprocess.run([*command, *data, *row.overrides, *overrides], check=True, stdout=subprocess.DEVNULL)
    row.whole.append(time.perf_counter() - started)
    evaluation = ["job=evaluate", f"run={run}", "evaluate.views=mirror_shifts", "evaluate.shift=1"]
    subprocess.run([*command[:3], *evaluation], check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    images = summary["steps"] * summary["batch_size"]
    row.training.append(images / summary["images_per_second"])
    evaluated = json.loads((run / "evaluate-npz-test.json").read_text("utf-8"))
    row.plain.append(evaluated["accuracy"])
    row.views.append(evaluated["views"]["accuracy"])


def run_beside(command: str) -> str:
    """Run another program and return its line of the table."""
    started = time.perf_counter()
    printed = subprocess.run(shlex.split(command), check=True, capture_output=True, text=True).stdout
    last = (printed.strip().splitlines() or [""])[-1].replace("|", "/")
    return f"| `{command}` | {last} | | | {time.perf_counter() - started:.0f} |"


def main() -> None:
    """Run everything in rounds and print the table after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--without", nargs="*", default=[], metavar="PART", help=", ".join(["all", *PARTS]))
    parser.add_argument("--also", action="append", default=[], metavar="OVERRIDES")
    parser.add_argument("--beside", action="append", default=[], metavar="COMMAND")
    parser.add_argument("--small", action="store_true")
    arguments, overrides = parser.parse_known_args()
    parts = list(PARTS) if arguments.without == ["all"] else arguments.without
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"--without {unknown[0]}: write all, or some of {', '.join(PARTS)}")
    overrides = [*(SMALL if arguments.small else []), *overrides]
    rows = [Row("recipe", []), *(Row(f"without {part}", PARTS[part]) for part in parts)]
    rows += [Row(f"with {also}", shlex.split(also)) for also in arguments.also]
    others: list[str] = []
    for seed in arguments.seeds:
        for row in rows:
            train(row, seed, arguments, overrides)
            print(row.line(), flush=True)
        others += [run_beside(command) for command in arguments.beside]
    print("\n| recipe | test accuracy, % | with six views, % | training, s | whole process, s |")
    print("|---|---|---|---|---|")
    print("\n".join([*(row.line() for row in rows), *others]))


if __name__ == "__main__":
    main()
