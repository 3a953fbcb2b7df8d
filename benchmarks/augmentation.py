"""Crops, flips, normalization: whole batches against single images: python -m benchmarks.augmentation

Both get images uint8 of CIFAR-10's shape and give float32 input for a network, on one thread; the first
rows are the same three operations in each. Times are medians over batches of CPU time for each image, so
that other work on the machine does not count. More rows: what other augmentations cost.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from cnntrain.augmentation.augment import build_augmentation
from cnntrain.augmentation.settings import Transforms
from cnntrain.config.choices import Choices
from cnntrain.config.compose import Composer
from cnntrain.config.configure import configure
from cnntrain.data.images import MemoryImages
from cnntrain.preprocessing.preprocess import build_preprocessing
from cnntrain.preprocessing.settings import Standardize

BATCH_SIZES = (128, 512)
REPEATS = 15
OTHERS = ("alternating", "cutout", "colour", "strong", "randaugment", "trivialaugment")
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def microseconds(run: Callable[[], object], images: int) -> float:
    """Return the median CPU time for each of a run's images, after one run that is not counted."""
    run()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1e6 * statistics.median(times) / images


def ours(strengths: Transforms, images: Tensor) -> Callable[[], Tensor]:
    """Return what makes a network's input of a batch."""
    train = MemoryImages(images, torch.arange(len(images)))
    augment = build_augmentation(strengths, "none", train)
    preprocess, _ = build_preprocessing(Standardize(), train, None)
    return lambda: preprocess(augment(images, train.labels, 0, 0, 0))


def torchvisions(images: Tensor) -> Callable[[], Tensor]:
    """Return the same for torchvision's transforms as scripts use them, one image after the other."""
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, DEVIATION),
        ]
    )
    channels_first = images.permute(0, 3, 1, 2).contiguous()
    return lambda: torch.stack([transform(image) for image in channels_first])


def main() -> None:
    torch.set_num_threads(1)
    composer = Composer(Choices())
    print("| images a batch | what | µs an image | torchvision's |\n|---:|---|---:|---:|")
    for count in BATCH_SIZES:
        images = torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8)
        theirs = microseconds(torchvisions(images), count)
        print(f"| {count} | torchvision: crop, flip, normalize | {theirs:.1f} | 1.0x |")
        cases = {"none: normalize": Transforms(), "crop_flip": Transforms(crop_padding=4, flip=True)}
        cases |= {
            name: configure(["data=cifar10", f"augmentation={name}"], composer).config.augmentation
            for name in OTHERS
        }
        for name, strengths in cases.items():
            taken = microseconds(ours(strengths, images), count)
            ratio = f"{theirs / taken:.1f}x" if name == "crop_flip" else ""
            print(f"| {count} | {name} | {taken:.1f} | {ratio} |")


if __name__ == "__main__":
    main()
