"""Random resized crops of large photos: images per second of this program's batches and of others' loaders.

    python -m benchmarks.large_photos --data FOLDER --out FOLDER [--images 5000] [--rounds 3]

data: the folder of cifar10.npz. out: an empty folder, for JPEG files of 500x375 made of CIFAR-10's images
(benchmarks/data_audit.py). Each measurement is one epoch of training batches of 128, after a first one that
is not counted, in a process of its own with two reading processes; loaders alternate within each round. The
table has medians: images per second of wall time, and processor time per image of all processes together,
whose inverse is the rate of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .data_audit import make_photographs

PHOTO = (500, 375)
BATCH, WORKERS, MIN_AREA = 128, 2, 0.08
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Processes must not compete for cores with the threads of one of them.
THREADS = 1


def torchvision_batches(photos: Path, size: int) -> Callable[[int], Iterable[Any]]:
    """Return the epochs of ImageFolder with RandomResizedCrop and a flip in a DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, (MIN_AREA, 1), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, DEVIATION),
        ]
    )
    loader: Any = DataLoader(
        ImageFolder(str(photos), transform), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    return lambda epoch: loader


def timm_batches(photos: Path, size: int) -> Callable[[int], Iterable[Any]]:
    """Return the epochs of timm's loader with its usual crop and flip, without further augmentation."""
    import timm.data

    library: Any = timm.data  # without types

    loader: Any = library.create_loader(
        library.create_dataset("", str(photos), is_training=True),
        (3, size, size),
        BATCH,
        is_training=True,
        scale=(MIN_AREA, 1),
        color_jitter=None,
        interpolation="bilinear",
        num_workers=WORKERS,
        device=torch.device("cpu"),
        pin_memory=False,
        persistent_workers=True,
    )
    return lambda epoch: loader


def cnntrain_batches(photos: Path, size: int, *overrides: str) -> Callable[[int], Iterable[Any]]:
    """Return the epochs of this program's training batches, scaled as the network gets them."""
    from cnntrain.assemble.run import build_parts
    from cnntrain.config.choice_files import Choices
    from cnntrain.config.pipeline import configure

    config = configure(
        [
            *("data=folder", f"data.path={photos}", "data.val_fraction=0", "data.test_fraction=0.0001"),
            *(f"data.image_size={size}", f"data.batch_size={BATCH}", f"data.workers={WORKERS}"),
            *("augmentation=none", f"augmentation.min_area={MIN_AREA}", "augmentation.flip=true"),
            *("model=linear", "preprocessing=minmax", "data.drop_last=true", *overrides),
        ],
        Choices(),
    ).config
    parts = build_parts(config, None, photos, "")
    preprocess = parts.step.preprocess

    def epoch(number: int) -> Iterable[Any]:
        for images, labels in parts.train.epoch(number, 0, len(parts.train)):
            yield preprocess(images), labels

    return epoch


def pillow_alone(photos: Path, size: int) -> Callable[[int], Iterable[Any]]:
    """Return epochs of which nothing is made: each file is decoded whole by Pillow, in this process."""
    from PIL import Image

    files = sorted(photos.rglob("*.jpg"))
    return lambda epoch: ([Image.open(file).load()] for file in files)


def simplejpeg_alone(photos: Path, size: int) -> Callable[[int], Iterable[Any]]:
    """Return the same by simplejpeg."""
    import simplejpeg

    files = sorted(photos.rglob("*.jpg"))
    return lambda epoch: ([simplejpeg.decode_jpeg(file.read_bytes())] for file in files)


STACKS: dict[str, Callable[[Path, int], Callable[[int], Iterable[Any]]]] = {
    "torchvision": torchvision_batches,
    "timm": timm_batches,
    "cnntrain, files": lambda photos, size: cnntrain_batches(photos, size, "data.memory_limit_gb=0"),
    "cnntrain, cache": lambda photos, size: cnntrain_batches(
        photos, size, "data.memory_limit_gb=100", f"data.cache={photos.parent / 'caches'}"
    ),
    "cnntrain, memory": lambda photos, size: cnntrain_batches(photos, size, "data.memory_limit_gb=100"),
    "Pillow, decoding alone": pillow_alone,
    "simplejpeg, decoding alone": simplejpeg_alone,
}


def cpu_seconds() -> float:
    """Return the processor time of this process and of all its living children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total, ticks = used.ru_utime + used.ru_stime, os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for child in children:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def child(stack: str, photos: Path, size: int) -> None:
    """Print the images per second and the processor milliseconds per image of the second epoch."""
    torch.set_num_threads(THREADS)
    epoch = STACKS[stack](photos, size)
    images = sum(len(batch[0]) if len(batch) == 2 else 1 for batch in epoch(0))
    started, before = time.perf_counter(), cpu_seconds()
    for _ in epoch(1):
        pass
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - before
    print(json.dumps([images / seconds, 1000 * cpu / images]))


def main() -> None:
    """Make the photos unless they are there, measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 224])
    parser.add_argument("--stacks", nargs="+", default=list(STACKS), choices=list(STACKS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child[0], Path(options.child[1]), int(options.child[2]))
        return
    photos = options.out / "photos"
    if not photos.is_dir():
        make_photographs(options.data, photos, options.images, PHOTO)
    measured: dict[tuple[int, str], list[list[float]]] = {}
    for _ in range(options.rounds):
        for size in options.sizes:
            for stack in options.stacks:
                measured.setdefault((size, stack), []).append(in_own_process(stack, photos, size))
    print_tables(measured, options.sizes, options.stacks)


def in_own_process(stack: str, photos: Path, size: int) -> list[float]:
    """Measure in a new process."""
    command = [sys.executable, "-m", "benchmarks.large_photos", "--child", stack, str(photos), str(size)]
    completed = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if completed.returncode:
        raise SystemExit(completed.stderr)
    result: list[float] = json.loads(completed.stdout.splitlines()[-1])
    return result


def print_tables(
    measured: dict[tuple[int, str], list[list[float]]], sizes: list[int], stacks: list[str]
) -> None:
    """Print a Markdown table for each size of crops."""
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {datetime.now(UTC):%F}")
    for size in sizes:
        print(f"\n| crops of {size}x{size} | images/s | CPU ms per image | per core, of torchvision's |")
        print("|---|---|---|---|")
        base = None
        for stack in stacks:
            rates, costs = zip(*measured[size, stack], strict=True)
            cost = statistics.median(costs)
            base = cost if stack == "torchvision" else base
            ratio = "" if base is None else f"{base / cost:.2f}x"
            print(f"| {stack} | {statistics.median(rates):.0f} | {cost:.2f} | {ratio} |")


if __name__ == "__main__":
    main()
