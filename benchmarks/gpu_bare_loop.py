"""The limit of training on a GPU: all images in its memory, augmented by indexing, nothing recorded or saved.

    python -m benchmarks.gpu_bare_loop --data FOLDER --model resnet20

Prints a row of Markdown with the images per second of the last of three passes, in bf16 and channels last.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure

BATCH, PADDING, PASSES = 512, 4, 3


def batch_of(padded: Tensor, index: Tensor, side: int) -> Tensor:
    """Return random crops and flips of the images at these indices, float (B, 3, side, side)."""
    device = padded.device
    top, left = torch.randint(2 * PADDING + 1, (2, len(index)), device=device)
    rows = top[:, None] + torch.arange(side, device=device)
    columns = left[:, None] + torch.arange(side, device=device)
    flipped = torch.rand(len(index), 1, device=device) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    images = padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    return images.permute(0, 3, 1, 2).float().sub(121.0).div(63.0)


def main() -> None:
    """Train and print the rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.backends.cudnn.benchmark = True
    with np.load(given.data / "cifar10.npz") as arrays:
        images, labels = (torch.from_numpy(arrays[name]).to(device) for name in ("x_train", "y_train"))
    labels, side = labels.long().flatten(), images.shape[1]
    padded = F.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING))
    config = configure(["data=cifar10", f"model={given.model}"], Choices()).config
    network = config.model.build(3, 10, (side, side), None).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, nesterov=True, fused=True)
    for _ in range(PASSES):
        started, seen = time.perf_counter(), 0
        for index in torch.randperm(len(images), device=device).split(BATCH)[: given.steps]:
            with torch.autocast(device.type, torch.bfloat16):
                loss = F.cross_entropy(network(batch_of(padded, index, side)), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(index)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    print(f"| {given.model} | {seen / (time.perf_counter() - started):.0f} |")


if __name__ == "__main__":
    main()
