"""Dense evaluation against evaluation of its crops in batches: python -m benchmarks.dense

Each network is built for 224x224, at its paper's width and with initial weights, and slides over an image of
384x384: 6x6 positions at stride 32, 11x11 at stride 16. Times are medians of five passes in float32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.model.fully_convolutional import SlidingNetwork
from cnntrain.training.device import keep_freed_memory

NETWORKS = ("alexnet", "vgg11", "resnet18")
SIDE, LARGER = 224, 384


def seconds(run: Callable[[], Tensor], passes: int) -> float:
    """Return the median time of a run, after one that is not counted."""
    run()
    times = []
    for _ in range(passes):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@torch.inference_mode()
def compare(name: str, stride: int, passes: int) -> str:
    """Return a row of the table for one network and stride."""
    torch.manual_seed(0)
    settings = configure([f"model={name}"], Choices()).config.model
    network = settings.build(3, 1000, (SIDE, SIDE), None).eval().to(memory_format=torch.channels_last)
    sliding = SlidingNetwork(network, (3, SIDE, SIDE), stride)
    images = torch.randn(1, 3, LARGER, LARGER).to(memory_format=torch.channels_last)
    dense = sliding.score_map(images)
    crops = sliding.crops(images)
    separate = torch.cat([network(crop[None]) for crop in crops])
    separate = separate.reshape(*dense.shape[2:], 1, -1).permute(2, 3, 0, 1)
    dense_s = seconds(lambda: sliding.score_map(images), passes)
    crops_s = seconds(lambda: torch.cat([network(part) for part in crops.split(12)]), passes)
    difference = (dense - separate).abs().mean() / separate.std()
    rows, columns = dense.shape[2:]
    return (
        f"| {name} | {rows}x{columns} | {1000 * dense_s:.0f} | {1000 * crops_s:.0f} | "
        f"{crops_s / dense_s:.1f} | {difference:.2g} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=5)
    passes = parser.parse_args().passes
    keep_freed_memory()
    print(
        "| network | positions | one pass, ms | crops, ms | ratio | mean difference / deviation of scores |"
    )
    print("|---|---|---:|---:|---:|---:|")
    for name in NETWORKS:
        for stride in (32, 16):
            print(compare(name, stride, passes), flush=True)


if __name__ == "__main__":
    main()
