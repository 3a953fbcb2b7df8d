"""What each logger costs a run: the time of its steps, the wait at its end, and the logger's own process.

    python -m benchmarks.loggers [--repeats 5] [--threads 1] [--epochs 5]

Runs without a logger and with each take turns in one process. Printed is a table in Markdown: the median of
the ratios of a training with the logger to the one without it before, the same in milliseconds a step, the
seconds waited at the end, and the processor seconds of the logger's process, its imports included. All write
to a temporary folder: Weights & Biases offline, MLflow into a new database.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cnntrain.assemble.run import assemble
from cnntrain.config import stored_config
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.logger.processes import RunLoggers
from cnntrain.runs.run_folder import create
from cnntrain.runs.signals import StopSignals

# Two seconds an epoch, in which a row is recorded every 20 steps.
RUN = (
    *("model=lenet5", "data=synthetic", "data.image_size=28", "data.channels=1", "data.train_images=20000"),
    "trainer.record_every_steps=20",
)
ALL = ("logger.tensorboard=true", "logger.wandb=true", "logger.mlflow=true", "logger.trackio=true")
OFFLINE = "logger.wandb_mode=offline"
LOGGERS = {
    "TensorBoard": ("logger=tensorboard",),
    "Weights & Biases, offline": ("logger=wandb", OFFLINE),
    "MLflow, SQLite": ("logger=mlflow",),
    "Trackio": ("logger=trackio",),
    "all four": (*ALL, OFFLINE),
}


@dataclass(frozen=True)
class Cost:
    """Seconds of a training and of the wait at its end, processor seconds of the loggers, and steps."""

    training: float
    end: float
    processor: float
    steps: int


def cost(*overrides: str) -> Cost:
    """Return what a training costs; MLflow's artifacts go to the working folder, a temporary one here."""
    config = configure([*RUN, *overrides], Choices()).config
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.chdir(name),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        folder = create(Path(name), True)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder.path}/mlflow.db"
        os.environ["TRACKIO_DIR"] = f"{folder.path}/trackio"
        folder.config.write_text(stored_config.to_yaml(config), encoding="utf-8")
        trainer = assemble(config, folder, None).trainer
        loggers, before = RunLoggers(), resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        loggers.start(config.logger, folder.path)
        trainer.recorder.listeners.append(loggers.check)
        trainer.train(StopSignals())
        training = time.perf_counter() - started
        trainer.recorder.close()
        folder.write_summary({"status": "finished"})
        started = time.perf_counter()
        loggers.end()
        end, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(training, end, processor, trainer.progress.step)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    common = (f"trainer.threads={options.threads}", f"trainer.epochs={options.epochs}")
    cost(*common)
    pairs: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in LOGGERS}
    for _ in range(options.repeats):
        for name, overrides in LOGGERS.items():
            without = cost(*common)
            logged = cost(*common, *overrides)
            pairs[name].append((logged, without))
            print(f"{name}: {logged.training:.2f} s, without {without.training:.2f} s", file=sys.stderr)
    print("| logger | time of training | per step | wait at the end | processor time of the logger |")
    print("|---|---|---|---|---|")
    for name, measured in pairs.items():
        ratio = statistics.median(logged.training / without.training for logged, without in measured)
        step = statistics.median(
            1000 * (logged.training - without.training) / logged.steps for logged, without in measured
        )
        end = statistics.median(logged.end for logged, _ in measured)
        processor = statistics.median(logged.processor for logged, _ in measured)
        print(f"| {name} | {ratio:.3f}x | {step:+.3f} ms | {end:.1f} s | {processor:.1f} s |")


if __name__ == "__main__":
    main()
