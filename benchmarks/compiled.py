"""What trainer.compile gains a step, what its start costs, and after how many updates it has paid.

    python -m benchmarks.compiled --data FOLDER [--rounds 8] [--only resnet20/CIFAR-10] [--drop-last]

FOLDER holds mnist.npz and cifar10.npz. With --drop-last all batches are of one size, else of two, for which
torch compiles a second time. The same steps with and without torch.compile take turns; times are of
the processor, on one thread, with those of the C++ compiler, which other programs disturb little. The start
is what the first step takes more than later ones, in a cache of its own, as on a machine that has not
compiled the network before.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
from pathlib import Path

os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # others would not be counted

import torch

from benchmarks.workloads import WORKLOADS
from cnntrain.assemble.run import Parts, build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.model.fine_tuning import training_mode


def processor_seconds() -> float:
    """Return the processor time of this process and of those it has started."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def parts_of(name: str, root: Path, compiled: bool, drop_last: bool) -> Parts:
    """Return the parts of a run of a workload."""
    workload = WORKLOADS[name]
    file = root / f"{workload.data}.npz"
    overrides = [*workload.overrides()[1:], "data=npz", f"data.path={file}", "trainer.threads=1"]
    overrides += [f"trainer.compile={str(compiled).lower()}", f"data.drop_last={str(drop_last).lower()}"]
    return build_parts(configure(overrides, Choices()).config, None, Path("run"), "")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", choices=WORKLOADS, action="append")
    parser.add_argument("--drop-last", action="store_true")
    arguments = parser.parse_args()
    root = arguments.data.resolve()
    print("| network | step, ms | compiled, ms | ratio | start, s | pays after updates |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in arguments.only or WORKLOADS:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
            torch.compiler.reset()
            plain, compiled = (
                parts_of(name, root, compiles, arguments.drop_last) for compiles in (False, True)
            )
            steps: dict[str, list[float]] = {"plain": [], "compiled": []}
            batches = plain.train.epoch(0, 0, arguments.rounds + 2)
            for number, (images, labels) in enumerate(batches):
                for kind, parts in (("plain", plain), ("compiled", compiled)):
                    training_mode(parts.step.network)
                    started = processor_seconds()
                    parts.step.run(number, images, labels, recording=False)
                    steps[kind].append(processor_seconds() - started)
        eager, fast = (statistics.median(steps[kind][2:]) for kind in ("plain", "compiled"))
        start = sum(steps["compiled"][:2]) - 2 * fast
        pays = f"{start / (eager - fast):.0f}" if fast < eager else "never"
        print(
            f"| {name} | {1e3 * eager:.1f} | {1e3 * fast:.1f} | {eager / fast:.2f}x | {start:.1f} | {pays} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
