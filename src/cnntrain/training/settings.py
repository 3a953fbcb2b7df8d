"""Settings of the training loop (group `trainer`)."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ..settings.accelerators import cuda_devices, has_mps
from ..settings.fields import fixed, setting
from ..settings.option import Option


@dataclass
class Trainer(Option):
    """How long, on what and how often: everything about the loop itself."""

    name: str = fixed("loop")
    epochs: int = setting(20, "passes over the training split", ge=1)
    device: str = setting("auto", "auto, cpu, cuda, cuda:N or mps; auto takes CUDA, then MPS", resume="free")
    precision: str = setting(
        "auto",
        "number format of the forward pass; auto: bf16 where the device is faster with it",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    channels_last: bool = setting(True, "keep images and weights in channels-last order in memory")
    compile: bool = setting(False, "compile the network with torch.compile; needs a C++ compiler")
    deterministic: bool = setting(False, "use deterministic algorithms only (CUDA: exact resuming; slower)")
    threads: int | None = setting(
        None,
        "CPU threads; null: as many as there are cores that other processes leave free; a run that is "
        "continued keeps its number",
        ge=1,
    )
    accumulate_steps: int = setting(
        1, "batches whose gradients are averaged for one update: more images per update, same memory", ge=1
    )
    # 2 keeps the deepest plain network, VGG-19, alive at sgd's own rate; most gradients are shorter.
    max_grad_norm: float | None = setting(
        2.0, "gradients longer than this are scaled down to it; null: never", gt=0
    )
    early_stopping_epochs: int | None = setting(
        None,
        "stop after this many epochs without a lower validation error (of values: the mean absolute error); "
        "null: never",
        ge=1,
    )
    max_steps_per_epoch: int | None = setting(
        None, "end each epoch after this many updates; null: a whole pass", ge=1
    )
    max_minutes: float | None = setting(
        None,
        "save and stop after this time, to be continued with run=FOLDER; null: never",
        gt=0,
        resume="free",
    )
    pictures: bool = setting(
        True, "draw what the network sees and the learning rate into the run's folder", resume="free"
    )
    record_every_steps: int = setting(50, "updates between two rows of metrics.jsonl", ge=1, resume="free")
    checkpoint_every_steps: int | None = setting(
        None, "updates between two checkpoints, besides one per epoch; null: none", ge=1, resume="free"
    )
    checkpoint_every_minutes: float | None = setting(
        10.0, "minutes between two checkpoints, besides one per epoch; null: none", gt=0, resume="free"
    )

    def problems(self) -> Iterator[str]:
        yield from self._device_problems()
        compiler = os.environ.get("CXX", "cl" if sys.platform == "win32" else "g++")
        if self.compile and shutil.which(compiler) is None:
            yield f"trainer.compile=true: needs the C++ compiler {compiler}; install it, or write false"

    def _device_problems(self) -> Iterator[str]:
        kind, _, index = self.device.partition(":")
        is_cuda = kind == "cuda" and (index.isdigit() or self.device == "cuda")
        if not is_cuda and self.device not in ("auto", "cpu", "mps"):
            yield f"trainer.device={self.device}: must be auto, cpu, cuda, cuda:N or mps"
            return
        count = cuda_devices() if is_cuda or self.precision == "fp16" else 0
        if is_cuda and not count:
            yield f"trainer.device={self.device}: this machine has no CUDA device; write auto or cpu"
        elif index and int(index) >= count:
            yield f"trainer.device={self.device}: this machine has cuda:0 to cuda:{count - 1}"
        elif self.device == "mps" and not has_mps():
            yield "trainer.device=mps: this machine has no MPS device; write auto or cpu"
        elif self.precision == "fp16" and not (count and self.device != "cpu"):
            yield "trainer.precision=fp16: needs a CUDA device; write auto, bf16 or fp32"
