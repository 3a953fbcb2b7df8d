"""Augmentation of whole batches against torchvision's of single images: python -m benchmarks.augmentation

Both convert uint8 images of CIFAR-10's shape to a network's float32 input, on one thread. The row crop_flip
has torchvision's three operations (crop, flip, normalize); the other rows are other augmentations.
Times are medians over repeated batches of the CPU time per image, to exclude other work on the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from cnntrain.augmentation.settings import Transforms
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.data.image_set import MemoryImages
from cnntrain.preprocessing.settings import Standardize
from cnntrain.settings.network_input import NetworkInput

BATCH_SIZES = (128, 512)
REPEATS = 15
OTHERS = ("alternating", "cutout", "colour", "strong", "randaugment", "trivialaugment")
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def microseconds(run: Callable[[], object], images: int) -> float:
    """Return the median CPU time per image of a run, after one run that is not counted."""
    run()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1e6 * statistics.median(times) / images


def cnntrain_pipeline(settings: Transforms, images: Tensor) -> Callable[[], Tensor]:
    """Return a function that converts a batch to a network's input."""
    train = MemoryImages(images, torch.arange(len(images)))
    augment = settings.build("none", train.shape, train.chunks(len(images)))
    network_input = NetworkInput(train.shape, None, None, train.shape)
    preprocess, _ = Standardize().fit(train, network_input)
    return lambda: preprocess(augment(images, train.labels, 0, 0, 0))


def torchvision_pipeline(images: Tensor) -> Callable[[], Tensor]:
    """Return the same with torchvision's transforms, one image after the other as in usual scripts."""
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
    choices = Choices()
    print("| images a batch | what | µs an image | torchvision's |\n|---:|---|---:|---:|")
    for count in BATCH_SIZES:
        images = torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8)
        torchvision_time = microseconds(torchvision_pipeline(images), count)
        print(f"| {count} | torchvision: crop, flip, normalize | {torchvision_time:.1f} | 1.0x |")
        cases = {"none: normalize": Transforms(), "crop_flip": Transforms(crop_padding=4, flip=True)}
        cases |= {
            name: configure(["data=cifar10", f"augmentation={name}"], choices).config.augmentation
            for name in OTHERS
        }
        for name, settings in cases.items():
            time_per_image = microseconds(cnntrain_pipeline(settings, images), count)
            ratio = f"{torchvision_time / time_per_image:.1f}x" if name == "crop_flip" else ""
            print(f"| {count} | {name} | {time_per_image:.1f} | {ratio} |")


if __name__ == "__main__":
    main()
