"""Few images of new classes: training from scratch, fine-tuning, and closed-form heads (docs/fine_tuning.md).

A small network is trained on eight classes of CIFAR-10. Of the other two, cats and dogs, 20, 50 or 200
images of each class are drawn from the training images by each seed, a fifth of them for validation; the test
images of the two classes are read once, at the end of each run. Runs that are there already are kept.

    python -m benchmarks.fine_tuning --data FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
NEW = [3, 5]
COUNTS = (20, 50, 200)
SEEDS = (0, 1, 2)
MODEL = ["model=convnet", "model.channels=[32,64,128]", "model.convs_per_block=1"]
QUIET = ["trainer.pictures=false", "trainer.report=false", "trainer.instruments=false"]
PRETRAINING = ["augmentation=crop_flip", "trainer.epochs=10"]
FEW = ["data.batch_size=16", "data.val_fraction=0.2"]


def methods(source: Path) -> dict[str, list[str]]:
    """Return the overrides of each method; source: the run on eight classes."""
    from_run = ["initialization=from_run", f"initialization.run={source}"]
    tuned = ["experiment=fine_tune", "augmentation=crop_flip"]
    scratch = [*tuned, "preprocessing=standardize", "model.head_epochs=0", "model.layer_decay=1"]
    return {
        "from scratch, 60 epochs": [*scratch, "trainer.epochs=60"],
        "fine-tuned, 20 epochs": [*tuned, *from_run],
        "ridge head": ["job=head", "head.method=ridge", "preprocessing=pretrained", *from_run],
        "nearest neighbours": ["job=head", "head.method=knn", "preprocessing=pretrained", *from_run],
    }


def write_data(cifar10: Path, out: Path) -> None:
    """Write eight.npz, and few-COUNT-SEED.npz of the two other classes."""
    arrays = np.load(cifar10)
    images = {split: arrays[f"x_{split}"] for split in ("train", "test")}
    labels = {split: arrays[f"y_{split}"].reshape(-1) for split in ("train", "test")}
    old = [label for label in range(10) if label not in NEW]
    chosen = {split: np.flatnonzero(np.isin(labels[split], old)) for split in labels}
    save(out / "eight.npz", images, labels, chosen, old)
    test = np.flatnonzero(np.isin(labels["test"], NEW))
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        orders = [generator.permutation(np.flatnonzero(labels["train"] == label)) for label in NEW]
        for count in COUNTS:
            train = np.concatenate([order[:count] for order in orders])
            save(out / f"few-{count}-{seed}.npz", images, labels, {"train": train, "test": test}, NEW)


def save(
    file: Path,
    images: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    chosen: dict[str, np.ndarray],
    classes: list[int],
) -> None:
    """Write the chosen images of each split, with their classes counted from 0."""
    if file.exists():
        return
    content = {f"x_{split}": images[split][indices] for split, indices in chosen.items()}
    content |= {f"y_{split}": np.searchsorted(classes, labels[split][i]) for split, i in chosen.items()}
    np.savez(file, names=np.array(NAMES)[classes], **content)


def run(folder: Path, overrides: list[str]) -> dict[str, float]:
    """Train in a folder unless it is finished; return the summary."""
    summary = folder / "summary.json"
    if not summary.exists():
        command = [sys.executable, "-m", "cnntrain", *overrides, *QUIET, f"hydra.run.dir={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    content: dict[str, float] = json.loads(summary.read_text(encoding="utf-8"))
    return content


def main() -> None:
    """Print a table: the mean and the standard deviation of the test accuracy over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for arrays and runs")
    parser.add_argument("--only", default="", help="methods whose names contain this")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    write_data(arguments.data / "cifar10.npz", out)
    source = run(out / "eight", ["data=npz", f"data.path={out / 'eight.npz'}", *MODEL, *PRETRAINING])
    print(f"eight classes: test accuracy {source['test/accuracy']:.4f}\n")
    print(f"| | {' | '.join(f'{count} images a class' for count in COUNTS)} |\n|---|{'---:|' * len(COUNTS)}")
    for number, (name, overrides) in enumerate(methods(out / "eight").items()):
        if arguments.only not in name:
            continue
        cells = []
        for count in COUNTS:
            found = []
            for seed in SEEDS:
                data = ["data=npz", f"data.path={out / f'few-{count}-{seed}.npz'}", f"seed={seed}"]
                summary = run(out / f"{number}-{count}-{seed}", [*overrides, *data, *MODEL, *FEW])
                found.append(100 * summary["test/accuracy"])
            cells.append(f"{np.mean(found):.1f} ± {np.std(found, ddof=1):.1f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
