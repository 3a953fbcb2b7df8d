"""job=predict beside the loops that others write: images per second, CPU time and memory.

    python -m benchmarks.prediction --data FOLDER --out FOLDER

data: the folder of cifar10.npz. out: an empty folder, for 5000 JPEG files of 400x300 made of CIFAR-10's
images (benchmarks/data_audit.py) and a network that is trained on a few of them. Every loop is a process of
its own, start-up included, in interleaved rounds, in float32; the table has the medians. All write the
five most probable classes of each image into a CSV file. `decoding alone` and `network alone` are what
job=predict is made of.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import cnntrain
from cnntrain.prediction.image_sources import Source
from cnntrain.prediction.prediction_stream import read_ahead, read_source
from cnntrain.prediction.trained import load_trained
from cnntrain.training.device import Earlier, prepare

from .data_audit import make_photographs

SIDE, BATCH, WORKERS, TOP = 64, 32, 2, 5
# Runs a command in a process of its own, whose children's times are those of the command alone.
WAITER = (
    "import resource, subprocess, sys, time; started = time.perf_counter(); "
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6)"
)


@dataclass(frozen=True)
class Measured:
    """The wall time and the CPU time of a process with its children in seconds, and its peak memory in GB."""

    seconds: float
    cpu: float
    memory: float


class Files(Dataset[Any]):
    """Image files as pixels of SIDE x SIDE: the shorter side resized, then a center crop."""

    def __init__(self, files: list[Path]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as file:
            image = file.convert("RGB")
        scale = SIDE / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        return torch.from_numpy(np.array(image.crop((left, top, left + SIDE, top + SIDE))))


def scores_one_by_one(files: list[Path], trained: Any) -> Iterator[Tensor]:
    """Yield the scores of one image after the other: open, resize, predict."""
    images = Files(files)
    for number in range(len(images)):
        yield trained.network(trained.preprocess(images[number][None]))


def scores_of_loader(files: list[Path], trained: Any) -> Iterator[Tensor]:
    """Yield the scores of batches that a DataLoader reads with worker processes."""
    for images in DataLoader(Files(files), BATCH, num_workers=WORKERS):
        yield trained.network(trained.preprocess(images))


def scores_of_timm(files: list[Path], trained: Any) -> Iterator[Tensor]:
    """Yield the scores of batches that timm's data set and loader read, as its inference.py does."""
    from timm.data import create_dataset, create_loader  # type: ignore[attr-defined]

    scale, shift = trained.preprocess.scale[0, 0, 0], trained.preprocess.shift[0, 0, 0]
    std, mean = 1 / (255 * scale), -shift / (255 * scale)  # of pixels in 0…1
    loader = create_loader(
        create_dataset(root=str(files[0].parents[1]), name=""),
        input_size=(3, SIDE, SIDE),
        batch_size=BATCH,
        use_prefetcher=False,
        interpolation="bilinear",
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        num_workers=WORKERS,
        crop_pct=1.0,
        device=torch.device("cpu"),
    )
    for inputs, _ in loader:
        yield trained.network(inputs)


LOOPS: dict[str, Callable[[list[Path], Any], Iterator[Tensor]]] = {
    "one image after the other": scores_one_by_one,
    f"DataLoader, batch {BATCH}, {WORKERS} workers": scores_of_loader,
    f"timm's loader, batch {BATCH}, {WORKERS} workers": scores_of_timm,
}
OURS = "cnntrain predict"


def run_loop(name: str, photographs: Path, run: Path, out: Path) -> None:
    """Predict all photographs by one of the loops, and write the most probable classes."""
    trained, files = cnntrain.load(run), iter(sorted(photographs.rglob("*.jpg")))
    with torch.inference_mode(), out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        for scores in LOOPS[name](sorted(photographs.rglob("*.jpg")), trained):
            found = scores.float().softmax(1).topk(TOP)
            for numbers, indices in zip(found.values.tolist(), found.indices.tolist(), strict=True):
                names = [trained.names[index] for index in indices]
                writer.writerow([next(files), *chain(*zip(names, numbers, strict=True))])


def decode_alone(photographs: Path, run: Path) -> None:
    """Decode all photographs as job=predict does, without a network."""
    shape = cnntrain.load(run).image_shape
    files = [Source(str(path)) for path in sorted(photographs.rglob("*.jpg"))]
    for _ in read_ahead(files, lambda source: read_source(source, shape, "crop"), BATCH):
        pass


def network_alone(photographs: Path, run: Path) -> None:
    """Predict as many images as there are photographs, all of them the same batch in memory."""
    trained = load_trained(run)
    trained.use(prepare(trained.config.trainer, Earlier(trained.threads)))
    batch = torch.zeros(BATCH, *trained.image_shape, dtype=torch.uint8)
    for _ in range(sum(1 for _ in photographs.rglob("*.jpg")) // BATCH):
        trained.predict_batch(batch)


ALONE = {"decoding alone": decode_alone, "network alone": network_alone}


def command_of(name: str, photographs: Path, run: Path, table: Path) -> list[str]:
    """Return the command that predicts all photographs in one way, or does a part of it."""
    if name == OURS:
        settings = [f"predict.images={photographs}", f"predict.file={table}", "predict.sheet=false"]
        program = [sys.executable, "-m", "cnntrain", "predict", f"run={run}"]
        return [*program, *settings, f"predict.batch_size={BATCH}"]
    folders = ["--photographs", str(photographs), "--run", str(run), "--out", str(table)]
    return [sys.executable, "-m", "benchmarks.prediction", "--loop", name, *folders]


def measured(command: list[str]) -> Measured:
    """Run a command; return its time and memory. Raises CalledProcessError."""
    output = subprocess.run(
        [sys.executable, "-c", WAITER, *command], check=True, capture_output=True, text=True
    )
    return Measured(*map(float, output.stdout.split()))


def make_run(photographs: Path, run: Path, model: str) -> None:
    """Train a network of this name for a few steps."""
    data = ["data=folder", f"data.path={photographs}", f"data.image_size={SIDE}", "data.limit=200"]
    quick = ["trainer.epochs=1", "trainer.precision=fp32", "trainer.report=false", "trainer.pictures=false"]
    command = [sys.executable, "-m", "cnntrain", f"model={model}", *data, *quick, f"hydra.run.dir={run}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def agreement(tables: dict[str, Path]) -> str:
    """Return the share of images of which each table has the same class as ours."""
    classes = {}
    for name, path in tables.items():
        with path.open(encoding="utf-8", newline="") as rows:
            classes[name] = {row[0]: row[1] for row in csv.reader(rows) if row[0] != "file"}
    ours = classes.pop(OURS)
    shares = {name: sum(ours[file] == own[file] for file in own) / len(own) for name, own in classes.items()}
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def print_table(results: dict[str, list[Measured]], images: int) -> None:
    """Print the medians of all rounds, the start of a process included."""
    print("| way | images/s | CPU seconds | peak memory of a process |\n|---|---|---|---|")
    for name, rounds in results.items():
        seconds, cpu, memory = (
            statistics.median(getattr(one, part) for one in rounds) for part in ("seconds", "cpu", "memory")
        )
        print(f"| {name} | {images / seconds:.0f} | {cpu:.1f} | {memory:.2f} GB |")


def main() -> None:
    """Make photographs and a run, and measure all ways in turn; or be one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    parser.add_argument("--photographs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop in ALONE:
        ALONE[options.loop](options.photographs, options.run)
        return
    if options.loop is not None:
        run_loop(options.loop, options.photographs, options.run, options.out)
        return
    photographs, run = options.out / "photographs", options.out / options.model
    if not photographs.is_dir():
        make_photographs(options.data, photographs, options.images)
    if not run.is_dir():
        make_run(photographs, run, options.model)
    ways = [OURS, *LOOPS, *ALONE]
    tables = {name: options.out / f"{number}.csv" for number, name in enumerate(ways)}
    results: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name in ways:
            results[name].append(measured(command_of(name, photographs, run, tables[name])))
    print_table(results, options.images)
    print("\nsame class as cnntrain:", agreement({name: tables[name] for name in (OURS, *LOOPS)}))


if __name__ == "__main__":
    main()
