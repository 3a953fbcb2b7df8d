"""Settings of the training loop (group `trainer`)."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ..metrics import AUTO, SELECTABLE
from ..settings.accelerators import cuda_devices, has_mps
from ..settings.fields import default_of, fixed, setting, settings_of, shorten
from ..settings.option import Notice, Option
from ..settings.run_length import total_steps
from .cpu_load import THREADS, threads_of_environment
from .process_place import place

# Updates between rows of metrics.jsonl, and rows of a run that is too short to have so many otherwise.
RECORD_EVERY, LEAST_ROWS = 50, 60
# Precisions that CUDA devices alone have.
ON_CUDA = ("tf32", "fp16")
# Processes of a run for each core, more of which are a mistake: each takes half a gigabyte.
MOST_PER_CORE = 8


@dataclass
class Trainer(Option):
    """Settings of the training loop: duration, device, precision and checkpoints."""

    name: str = fixed("loop")
    epochs: int | float = setting(
        20,
        "passes over the training split, the last of which may be a part of one, as in 7.6; set by "
        "budget_minutes, if that is given",
        ge=1,
    )
    budget_minutes: float | None = setting(
        None,
        "train as many epochs as fit into this time, by the time of the first updates, and lay the schedule "
        "over all of them; null: epochs",
        gt=0,
    )
    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:N or mps; auto: CUDA if available, else MPS, else CPU", resume="free"
    )
    precision: str = setting(
        "auto",
        "number format of the forward pass; auto: bf16 on devices where it is faster, else fp32; tf32: fp32 "
        "whose products CUDA's tensor cores round to 10 bits (as those outside of autocast in bf16 and fp16)",
        choices=("auto", "fp32", "tf32", "bf16", "fp16"),
    )
    channels_last: bool = setting(True, "store images and weights in the channels-last memory format")
    compile: bool | str = setting(
        False,
        "compile the network with torch.compile, which needs a C++ compiler; auto: if the run is long enough "
        "to be tried, and its updates gain more than the start takes; a continued run keeps the choice",
        choices=(True, False, "auto"),
    )
    winograd: bool | str = setting(
        False,
        "compute 3x3 convolutions on the CPU in float32 by Winograd's algorithm where it is faster, equal to "
        "rounding; needs a C compiler; auto: where there is one, and precision is fp32; a continued run "
        "keeps the choice",
        choices=(True, False, "auto"),
    )
    deterministic: bool = setting(
        False, "use deterministic algorithms only: slower, needed on CUDA to resume exactly"
    )
    threads: int | None = setting(
        None,
        "CPU threads; null: the number of cores not used by other processes; a continued run keeps its "
        "number of threads",
        ge=1,
        le=1024,
    )
    processes: int = setting(
        1,
        "processes that train the network together on this machine, on a GPU each or on a share of the "
        "cores: each takes its part of every batch; torchrun decides it where it starts the program",
        ge=1,
        le=1024,
        resume="free",
    )
    sync_batch_norm: bool = setting(
        False,
        "with several processes, take the statistics of batch normalization from the whole batch; false: "
        "each process takes those of its own part, and their running statistics are averaged",
    )
    accumulate_steps: int = setting(
        1,
        "batches whose gradients are averaged for one update: more images with the same memory; batch "
        "normalization takes its statistics from each batch alone",
        ge=1,
    )
    initial_size: int | None = setting(
        None,
        "shorter side in pixels to which training images are reduced in the first steps, which cost less; "
        "for networks that take images of several sizes; null: all steps at the network's own size",
        ge=1,
    )
    full_size_from: float = setting(
        0.5,
        "initial_size: fraction of the run after which images have the network's own size; until then the "
        "side rises in steps of 4 pixels",
        gt=0,
        lt=1,
    )
    # With 2, even VGG-19, the deepest plain network, trains at sgd's default rate; most gradients are below.
    max_grad_norm: float | None = setting(
        2.0, "gradient clipping: maximum norm of the gradient; null: no clipping", gt=0
    )
    best_by: str = setting(
        AUTO,
        "validation metric by which the best epoch (best.pt) is chosen, and which early stopping, "
        "schedule=plateau and searches go by; where it is equal, the lower validation loss is better; auto: "
        "accuracy, for values the mean absolute error",
        choices=(AUTO, *SELECTABLE),
    )
    early_stopping_epochs: int | None = setting(
        None,
        "stop after this many epochs without a better one by trainer.best_by, or an equal one with a lower "
        "validation loss; null: never",
        ge=1,
    )
    max_steps_per_epoch: int | None = setting(
        None, "maximum number of updates per epoch; null: no limit", ge=1
    )
    max_minutes: float | None = setting(
        None,
        "save and stop after this time; run=FOLDER continues the run; null: no limit",
        gt=0,
        resume="free",
    )
    keep_epochs: int | None = setting(
        None,
        "keep the weights after every so many epochs, as checkpoints/epoch-0010.pt, for job=ensemble (E3); "
        "null: only the newest and the best",
        ge=1,
        resume="free",
    )
    keep: str = setting(
        "all",
        "checkpoints of a finished run: all; or model, the best network (and those of keep_epochs) for "
        "evaluation and prediction, a fifth of the size with momentum: such a run cannot be trained longer",
        choices=("all", "model"),
        resume="free",
    )
    test: bool = setting(
        True,
        "evaluate the best network on the test split at the end; false by default in a sweep, whose jobs are "
        "compared by validation",
        resume="free",
    )
    check: bool = setting(
        False,
        "make the checks of job=check before training; one that fails ends the run (exit code 5)",
        resume="free",
    )
    pictures: bool = setting(
        True,
        "save pictures of the network's input, first filters and learning rate in the run's folder",
        resume="free",
    )
    instruments: bool = setting(
        True,
        "measure update ratios, gradient norms and activations of each layer in recorded steps, histograms "
        "once an epoch at most, and dead and saturated units in validation",
        resume="free",
    )
    profile: bool = setting(
        False,
        "trace a few updates and the first evaluation, operation by operation, into trace.json.gz, which "
        "ui.perfetto.dev opens; job=profile says in a table where the time goes",
        resume="free",
    )
    report: bool = setting(
        True,
        "after training, say in words what went wrong or could be better (findings.json), and draw the run "
        "on one page (report.html)",
        resume="free",
    )
    hooks: list[str] = setting(
        [],
        "classes of your own, package.module:Class, told of the run by on_start, on_step (each recorded "
        "step), on_epoch and on_end, which see it and change nothing",
        resume="free",
    )
    quiet: bool = setting(
        False,
        "print one line, at the end, with the result of the job; errors are printed as always",
        resume="free",
    )
    record_every_steps: int | None = setting(
        None,
        f"updates between rows of metrics.jsonl; null: {RECORD_EVERY}, or fewer in a short run, which then "
        f"has about {LEAST_ROWS} rows",
        ge=1,
        resume="free",
    )
    checkpoint_every_steps: int | None = setting(
        None, "updates between checkpoints, in addition to one per epoch; null: none", ge=1, resume="free"
    )
    checkpoint_every_minutes: float | None = setting(
        10.0, "minutes between checkpoints, in addition to one per epoch; null: none", gt=0, resume="free"
    )

    def selected_by(self, primary_metric: str) -> str:
        """Return the metric by which the best epoch is chosen, for a loss with this primary metric."""
        return primary_metric if self.best_by == AUTO else self.best_by

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return the updates of the whole run, rounded up where the last epoch is a part of one."""
        return total_steps(steps_per_epoch, self.epochs)

    def epochs_counted(self) -> int:
        """Return the epochs of the whole run, a part of one counted as one."""
        return math.ceil(self.epochs)

    def recording_interval(self, steps: int) -> int:
        """Return the updates between rows of metrics.jsonl in a run of so many updates."""
        if self.record_every_steps is not None:
            return self.record_every_steps
        return max(1, min(RECORD_EVERY, steps // LEAST_ROWS))

    def epochs_problems(self) -> Iterator[str]:
        """Yield a `Notice` for each setting that has no effect in so few epochs."""
        if self.keep_epochs is not None and self.keep_epochs > self.epochs:
            keep = f"trainer.keep_epochs={self.keep_epochs}"
            yield Notice(f"{keep}: keeps nothing of a run of trainer.epochs={self.epochs}")
        patience = self.early_stopping_epochs
        if patience is not None and patience >= self.epochs:
            yield Notice(
                f"trainer.early_stopping_epochs={patience}: cannot stop a run of trainer.epochs={self.epochs}"
            )

    def hook_problems(self) -> Iterator[str]:
        """Yield an error for each of `hooks` that cannot be called."""
        if self.hooks:
            from .hooks import hook_problems

            yield from hook_problems(self.hooks)

    def problems(self) -> Iterator[str]:
        yield from [*self._device_problems()] or self._process_problems()
        full_size_from = default_of(settings_of(Trainer)["full_size_from"])
        if self.initial_size is None and self.full_size_from != full_size_from:
            given = f"trainer.full_size_from={self.full_size_from:g}"
            yield f"{given}: has no effect without trainer.initial_size"
        if self.budget_minutes is not None and self.max_minutes is not None:
            yield (
                f"trainer.max_minutes={self.max_minutes:g}: stops in the middle of a schedule that "
                "trainer.budget_minutes ends in time; keep one of the two"
            )
        if THREADS in os.environ and threads_of_environment() is None:
            yield Notice(
                f"{THREADS}={shorten(os.environ[THREADS])}: is no number of threads, which OpenMP ignores; "
                "write a number, or trainer.threads=2"
            )
        if self.winograd is True and self.compile is not False:
            yield "trainer.winograd=true: its convolutions cannot be compiled; write trainer.compile=false"
        if self.winograd is True and self.precision in ("bf16", *ON_CUDA):
            given = f"trainer.precision={self.precision}"
            yield f"trainer.winograd=true: computes in fp32, not in {given}; write trainer.precision=fp32"
        if self.compile is True and (compiler := missing_compiler()) is not None:
            yield f"trainer.compile=true: needs the C++ compiler {compiler}; install it, or write false"

    def _process_problems(self) -> Iterator[str]:
        count = self.processes
        if count == 1:
            if self.sync_batch_norm:
                yield Notice("trainer.sync_batch_norm=true: has no effect with trainer.processes=1")
            return
        here = place()
        on_machine = count if here is None else here.local_size
        kind, _, index = self.device.partition(":")
        if index or kind == "mps":
            yield (
                f"trainer.device={self.device}: is one device, of trainer.processes={count}; write cuda (one "
                "for each), or cpu"
            )
        elif kind != "cpu" and (devices := cuda_devices()):
            if on_machine > devices:
                yield f"trainer.processes={count}: this machine has {devices} CUDA devices; write {devices}"
        elif on_machine > MOST_PER_CORE * (cores := os.cpu_count() or 1):
            yield f"trainer.processes={count}: this machine has {cores} cores; write {cores}"
        elif on_machine > cores:
            yield Notice(f"trainer.processes={count}: this machine has {cores} cores, which they share")
        if self.budget_minutes is not None:
            yield (
                f"trainer.budget_minutes={self.budget_minutes:g}: is measured on one process; write "
                "trainer.epochs, or trainer.max_minutes"
            )

    def _device_problems(self) -> Iterator[str]:
        kind, _, index = self.device.partition(":")
        is_cuda = kind == "cuda" and (index.isdigit() or self.device == "cuda")
        if not is_cuda and self.device not in ("auto", "cpu", "mps"):
            yield f"trainer.device={self.device}: must be auto, cpu, cuda, cuda:N or mps"
            return
        count = cuda_devices() if is_cuda or self.precision in ON_CUDA else 0
        if is_cuda and not count:
            yield f"trainer.device={self.device}: this machine has no CUDA device; write auto or cpu"
        elif index and int(index) >= count:
            yield f"trainer.device={self.device}: this machine has cuda:0 to cuda:{count - 1}"
        elif self.device == "mps" and not has_mps():
            yield "trainer.device=mps: this machine has no MPS device; write auto or cpu"
        elif self.precision in ON_CUDA and not (count and self.device != "cpu"):
            yield f"trainer.precision={self.precision}: needs a CUDA device; write auto, bf16 or fp32"


def missing_compiler() -> str | None:
    """Return the name of the C++ compiler that torch.compile needs, None where it is installed."""
    compiler = os.environ.get("CXX", "cl" if sys.platform == "win32" else "g++")
    return compiler if shutil.which(compiler) is None else None
