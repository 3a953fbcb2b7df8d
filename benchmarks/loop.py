"""Compare a step of training with one of a bare loop, in turns within one process.

    python -m benchmarks.loop --data FOLDER [--steps 20] [--only resnet20/CIFAR-10]

FOLDER holds mnist.npz and cifar10.npz. The bare loop is that of benchmarks.throughput, in the precision that
trainer.precision=auto takes. Times are those of the processor, on one thread, so that other programs disturb
them little; medians over the steps. The ratio is of a mean step of cnntrain, one in fifty being recorded, as
by default.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.stacks import autocast, bare_batches
from benchmarks.workloads import WORKLOADS, Workload
from cnntrain.assemble.run import build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.model.fine_tuning import training_mode
from cnntrain.training.precision import automatic_precision
from cnntrain.training.settings import RECORD_EVERY

# Steps before the measured ones.
WARM_UP = 3


def bare_steps(workload: Workload, root: Path, bf16: bool) -> Callable[[], None]:
    """Return a function that makes the next step of the bare loop."""
    network = workload.network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), workload.lr, momentum=0.9, nesterov=True)
    batches = bare_batches(workload, root)()

    def step() -> None:
        images, labels = next(batches)
        with autocast(bf16):
            loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def own_steps(workload: Workload, root: Path, recording: bool) -> Callable[[], None]:
    """Return a function that makes the next step of cnntrain."""
    file = root / f"{workload.data}.npz"
    overrides = [*workload.overrides()[1:], "data=npz", f"data.path={file}", "trainer.threads=1"]
    parts = build_parts(configure(overrides, Choices()).config, None, Path("run"), "")
    training_mode(parts.step.network)
    batches = parts.train.epoch(0, 0, len(parts.train))
    numbers: Iterator[int] = iter(range(len(parts.train)))

    def step() -> None:
        parts.step.run(next(numbers), *next(batches), recording)
        if recording:
            parts.step.update.instruments.step_row()

    return step


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=WORKLOADS, action="append")
    arguments = parser.parse_args()
    root = arguments.data.resolve()
    torch.set_num_threads(1)
    precision, _ = automatic_precision(torch.device("cpu"))
    print(f"{precision}\n")
    print("| network | bare, ms | cnntrain, ms | recorded, ms | cnntrain is |\n|---|---:|---:|---:|---:|")
    for name in arguments.only or WORKLOADS:
        workload = WORKLOADS[name]
        steps = {
            "bare": bare_steps(workload, root, precision == "bf16"),
            "own": own_steps(workload, root, recording=False),
            "recorded": own_steps(workload, root, recording=True),
        }
        times: dict[str, list[float]] = {kind: [] for kind in steps}
        for number in range(WARM_UP + arguments.steps):
            # In both orders, as what runs before decides what is in the caches.
            for kind, step in list(steps.items())[:: 1 if number % 2 else -1]:
                started = time.process_time()
                step()
                times[kind].append(1e3 * (time.process_time() - started))
        bare, own, recorded = (statistics.median(times[kind][WARM_UP:]) for kind in steps)
        mean = own + (recorded - own) / RECORD_EVERY
        print(f"| {name} | {bare:.1f} | {own:.1f} | {recorded:.1f} | {bare / mean:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
