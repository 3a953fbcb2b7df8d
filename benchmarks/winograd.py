"""Compare Winograd's convolutions (trainer.winograd) with torch's, layer by layer and in steps of networks.

    python -m benchmarks.winograd --data FOLDER [--threads 1] [--rounds 5]

FOLDER holds cifar10.npz. Both take turns in each round, in float32; times are of the processor, so that
other programs disturb them little, and the fastest counts. A layer is timed forward and backward, with the
gradients of its input and of its weights, on 128 images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cnntrain.assemble.run import build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.convolution.winograd import convolve
from cnntrain.model.fine_tuning import training_mode
from cnntrain.training.device import keep_freed_memory

# Channels in and out, and side of the map.
LAYERS = [
    *((16, 16, 32), (32, 32, 16), (64, 64, 8), (24, 64, 31), (64, 64, 32), (64, 256, 15)),
    *((128, 128, 16), (256, 256, 8), (256, 256, 7), (512, 512, 4), (512, 512, 2)),
]
NETWORKS = {
    "ResNet-20": ["model=resnet20"],
    "ResNet-18": ["model=resnet18", "data.batch_size=64"],
    "VGG-11": ["model=vgg11"],
    "VGG-16 with batch norm": ["model=vgg16_bn", "data.batch_size=64"],
    "Network in Network": ["model=nin", "data.batch_size=64"],
    "whitened_convnet": ["model=whitened_convnet", "data.batch_size=250"],
}
IMAGES = 128


def fastest(works: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return the milliseconds of the fastest repetition of each work, in turns; the first is left out."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, own in zip(works, times, strict=True):
            started = time.process_time()
            work()
            own.append(1e3 * (time.process_time() - started))
    return [min(own[1:]) for own in times]


def layer(
    convolution: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, int, int]
) -> Callable[[], object]:
    """Return a function that computes a layer and its gradients."""
    channels, outputs, side = shape
    images = torch.randn(IMAGES, channels, side, side).contiguous(memory_format=torch.channels_last)
    filters = torch.randn(outputs, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    of_output = torch.randn(IMAGES, outputs, side, side).contiguous(memory_format=torch.channels_last)
    inputs = (images.requires_grad_(), filters.requires_grad_())
    return lambda: torch.autograd.grad(convolution(*inputs), inputs, of_output)


def step(overrides: list[str]) -> Callable[[], object]:
    """Return a function that makes the next step of a run."""
    parts = build_parts(configure(overrides, Choices()).config, None, Path("run"), "")
    training_mode(parts.step.network)
    batches = parts.train.epoch(0, 0, len(parts.train))
    numbers = iter(range(len(parts.train)))
    return lambda: parts.step.run(next(numbers), *next(batches), False)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    print("| channels in, out | map | torch, ms | Winograd, ms | speed |\n|---|---|---:|---:|---:|")
    for shape in LAYERS:
        ours = layer(lambda images, filters: convolve(images, filters, None, 1), shape)
        torchs = layer(lambda images, filters: F.conv2d(images, filters, padding=1), shape)
        one, other = fastest([torchs, ours], arguments.rounds)
        channels, outputs, side = shape
        row = f"| {channels}, {outputs} | {side}x{side} | {one:.1f} | {other:.1f} |"
        print(f"{row} {one / other:.2f}x |", flush=True)
    print("\n| network | torch, ms a step | Winograd, ms | speed |\n|---|---:|---:|---:|")
    data = ["data=npz", f"data.path={arguments.data.resolve() / 'cifar10.npz'}"]
    for name, overrides in NETWORKS.items():
        common = [*overrides, *data, f"trainer.threads={arguments.threads}"]
        steps = [step([*common, "trainer.precision=fp32"]), step([*common, "trainer.winograd=true"])]
        one, other = fastest(steps, arguments.rounds)
        print(f"| {name} | {one:.0f} | {other:.0f} | {one / other:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
