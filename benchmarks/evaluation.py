"""Compare the evaluation of a split with a bare forward pass over it, by batch size.

    python -m benchmarks.evaluation --data FOLDER [--rounds 3] [--images 2000]

FOLDER holds mnist.npz and cifar10.npz. All measurements of a network take turns in each round, in one
process; times are of the processor, on one thread, so that other programs disturb them little. The bare loop
holds the preprocessed images and makes nothing but the forward pass in inference mode.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.workloads import WORKLOADS
from cnntrain.assemble.run import Parts, build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.data.batches import Batches
from cnntrain.training.evaluate_split import evaluate_split

SIZES = (16, 32, 64, 128, 256, 512)


def bare(parts: Parts, inputs: torch.Tensor, size: int) -> None:
    """Make the forward pass over preprocessed images."""
    network = parts.step.network.eval()
    with torch.inference_mode():
        for batch in inputs.split(size):
            with parts.compute.autocast():
                network(batch)


def own(parts: Parts, batches: Batches) -> None:
    """Evaluate as after an epoch, with its instruments."""
    step = parts.step
    with step.update.instruments.around_split():
        evaluate_split(step.network, step.preprocess, step.criterion, batches, parts.compute)
    step.update.instruments.split_row()


def measured(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median processor time of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, one in work.items():
            started = time.process_time()
            one()
            if number:
                times[name].append(time.process_time() - started)
    return {name: statistics.median(some) for name, some in times.items()}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--only", choices=WORKLOADS, action="append")
    arguments = parser.parse_args()
    root = arguments.data.resolve()
    print(f"| network | what | {' | '.join(map(str, SIZES))} |")
    print(f"|---|---|{'---:|' * len(SIZES)}")
    for name in arguments.only or WORKLOADS:
        workload = WORKLOADS[name]
        file = root / f"{workload.data}.npz"
        overrides = [*workload.overrides()[1:], "data=npz", f"data.path={file}", "trainer.threads=1"]
        parts = build_parts(configure(overrides, Choices()).config, None, Path("run"), "")
        val = parts.splits.val.subset(torch.arange(arguments.images))
        ((images, _),) = Batches(val, len(val), parts.compute.device).in_order()
        inputs = parts.step.preprocess(images)
        work: dict[str, Callable[[], None]] = {}
        for size in SIZES:
            batches = Batches(val, size, parts.compute.device)
            work[f"bare {size}"] = partial(bare, parts, inputs, size)
            work[f"own {size}"] = partial(own, parts, batches)
        times = measured(work, arguments.rounds)
        best = min(times[f"bare {size}"] for size in SIZES)
        for what in ("bare", "own"):
            cells = [f"{best / times[f'{what} {size}']:.2f}" for size in SIZES]
            print(f"| {name} | {what} | {' | '.join(cells)} |", flush=True)
    print("\nspeed over that of the best batch size of the bare loop")


if __name__ == "__main__":
    main()
