"""The cost of all instruments at their default cadence: training and validation with and without them.

    python -m benchmarks.instruments [--repeats 5] [--threads 2]

Runs take turns in one process; printed are the seconds of the whole training, checkpoints included, and the
median of the ratios of neighboring runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path

from cnntrain.assemble.run import assemble
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.runs.run_folder import create
from cnntrain.runs.signals import StopSignals

# Networks with the images of their training split and epochs: about ten seconds each.
RUNS = {
    "convnet, digits": "model=convnet trainer.epochs=15",
    "lenet5, 28x28": "model=lenet5 data=synthetic data.image_size=28 data.channels=1 data.train_images=20000",
    "resnet20, 32x32": "model=resnet20 data=synthetic data.image_size=32 data.train_images=2500",
}


def seconds(overrides: str, instruments: bool, threads: int) -> float:
    """Return the wall-clock seconds of a training."""
    command = [
        *overrides.split(),
        f"trainer.instruments={str(instruments).lower()}",
        f"trainer.threads={threads}",
    ]
    if "epochs" not in overrides:
        command.append("trainer.epochs=2")
    config = configure(command, Choices()).config
    with tempfile.TemporaryDirectory() as folder:
        trainer = assemble(config, create(Path(folder), True), None).trainer
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train(StopSignals())
        elapsed = time.perf_counter() - started
        trainer.recorder.close()
    return elapsed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for name, overrides in RUNS.items():
        seconds(overrides, True, options.threads)
        pairs = [
            (seconds(overrides, True, options.threads), seconds(overrides, False, options.threads))
            for _ in range(options.repeats)
        ]
        ratio = statistics.median(with_all / without for with_all, without in pairs)
        with_all, without = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{name:<18} with {with_all:6.2f} s, without {without:6.2f} s, ratio {ratio:.3f}", flush=True)


if __name__ == "__main__":
    main()
