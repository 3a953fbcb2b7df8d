"""`cnntrain` beside `yolo classify train` (Ultralytics): one folder of images, from scratch, equal minutes.

    python -m benchmarks.beside_yolo --yolo PATH/bin/yolo --data FOLDER [--minutes 2] [--seeds 3]

Ultralytics is no dependency of this project: install it into an environment of its own and name its program.
FOLDER has cifar10.npz; of it, 5 000 images are written as JPEG files of 32x32, 80 % for training, 20 % for
validation, and 2 000 others as test split, one folder a class. Each program gets its budget in its own way
(`trainer.budget_minutes`, `time=` in hours), selects by validation and is measured once on the test split.
Then each is killed by SIGKILL within a run of fixed epochs, continued, and compared with one that was not.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = {"train": 4000, "val": 1000, "test": 2000}
SIZE, EPOCHS, KILLED_AFTER = 32, 6, 3
OURS = [f"data.image_size={SIZE}"]
# From its YAML: no weights are downloaded.
YOLO = [
    "model=yolov8n-cls.yaml",
    "pretrained=False",
    f"imgsz={SIZE}",
    "device=cpu",
    "workers=2",
    "plots=False",
]


def write_images(arrays: Path, folder: Path) -> None:
    """Write the images of all splits as JPEG files, one folder a class."""
    with np.load(arrays) as content:
        images, labels = content["x_train"], content["y_train"].ravel()
    order = np.random.default_rng(0).permutation(len(images))
    start = 0
    for split, count in SPLITS.items():
        for index in order[start : start + count]:
            target = folder / split / NAMES[labels[index]]
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[index]).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(
                target / f"{index:05}.jpg", quality=95
            )
        start += count


def timed(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Return seconds, CPU seconds and output of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu, done.stdout


class Ours:
    """The commands of this project."""

    name = "cnntrain"

    def __init__(self, images: Path, folder: Path):
        self.start = [sys.executable, "-m", "cnntrain", f"data={images}", *OURS]
        self.folder = folder

    def budget(self, minutes: float, seed: int) -> list[str]:
        run = self.folder / f"budget-{seed}"
        return [*self.start, f"seed={seed}", f"trainer.budget_minutes={minutes}", f"hydra.run.dir={run}"]

    def test(self, seed: int) -> float:
        summary = json.loads((self.folder / f"budget-{seed}/summary.json").read_text())
        return float(summary["test/accuracy"])

    def whole(self, name: str) -> list[str]:
        return [*self.start, f"trainer.epochs={EPOCHS}", f"hydra.run.dir={self.folder / name}"]

    def continued(self, name: str) -> list[str]:
        return [sys.executable, "-m", "cnntrain", f"run={self.folder / name}"]

    def epochs(self, name: str) -> list[dict[str, float]]:
        rows = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return [{key: row[key] for key in ("train/loss", "val/loss")} for row in rows if "lr" not in row]


class Yolo:
    """The commands of Ultralytics."""

    name = "yolo"

    def __init__(self, program: str, images: Path, folder: Path):
        self.program, self.folder = program, folder
        self.images = images
        self.start = [program, "classify", "train", f"data={images}", *YOLO, f"project={folder}"]

    def budget(self, minutes: float, seed: int) -> list[str]:
        return [*self.start, f"seed={seed}", f"time={minutes / 60}", f"name=budget-{seed}"]

    def test(self, seed: int) -> float:
        weights = self.folder / f"budget-{seed}/weights/best.pt"
        command = [self.program, "classify", "val", f"model={weights}", f"data={self.images}", "split=test"]
        _, _, printed = timed([*command, f"imgsz={SIZE}", "device=cpu", "plots=False"], self.folder)
        found = re.findall(r"^\s*all\s+([\d.]+)\s+[\d.]+\s*$", printed, re.MULTILINE)
        return float(found[-1])

    def whole(self, name: str) -> list[str]:
        return [*self.start, f"epochs={EPOCHS}", f"name={name}"]

    def continued(self, name: str) -> list[str]:
        return [self.program, "train", "resume", f"model={self.folder / name / 'weights/last.pt'}"]

    def epochs(self, name: str) -> list[dict[str, float]]:
        lines = (self.folder / name / "results.csv").read_text().splitlines()
        heads = [head.strip() for head in lines[0].split(",")]
        rows = [dict(zip(heads, map(float, line.split(",")), strict=True)) for line in lines[1:]]
        return [{key: row[key] for key in ("train/loss", "val/loss")} for row in rows]


def kill_and_continue(program: Ours | Yolo) -> tuple[int, float]:
    """Return how many epochs differ from those of a run that was not killed, a loss by how much at most."""
    timed(program.whole("whole"), program.folder)
    process = subprocess.Popen(
        program.whole("killed"),
        cwd=program.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None:
        try:
            if len(program.epochs("killed")) >= KILLED_AFTER:
                break
        except (OSError, ValueError, KeyError, IndexError):
            pass
        time.sleep(0.05)
    time.sleep(1)  # into the middle of the next epoch
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    timed(program.continued("killed"), program.folder)
    pairs = list(zip(program.epochs("whole"), program.epochs("killed"), strict=True))
    differences = [max(abs(one[key] - other[key]) for key in one) for one, other in pairs]
    return sum(difference > 0 for difference in differences), max(differences)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--yolo", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("beside_yolo"))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    images = out / "images"
    write_images(arguments.data / "cifar10.npz", images)
    programs: list[Ours | Yolo] = []
    for kind in (Ours, Yolo):
        folder = out / kind.name
        folder.mkdir()
        programs.append(Ours(images, folder) if kind is Ours else Yolo(arguments.yolo, images, folder))
    print(
        "| program | minutes | CPU seconds | test accuracy | epochs that differ after SIGKILL | by at most |"
    )
    print("|---|---|---|---|---|---|")
    for program in programs:
        found = []
        for seed in range(arguments.seeds):
            seconds, cpu, _ = timed(program.budget(arguments.minutes, seed), program.folder)
            found.append((seconds / 60, cpu, 100 * program.test(seed)))
        minutes, cpus, accuracies = zip(*found, strict=True)
        differing, largest = kill_and_continue(program)
        print(
            f"| {program.name} | {statistics.fmean(minutes):.2f} | {statistics.fmean(cpus):.0f} | "
            f"{statistics.fmean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f} | {differing} of "
            f"{EPOCHS} | {largest:.2g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
