"""`cnntrain checks`: versions, processor, devices and how fast they are, for reports of problems."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ..output_streams import print_labelled
from ..training.cpu_load import LOAD
from ..training.device import free_threads
from ..training.memory_use import all_memory
from ..training.precision import automatic_precision, bf16_unit
from ..version import __version__

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "numpy", "pillow", "matplotlib", "filelock")
OPTIONAL = (
    *("timm", "simplejpeg", "optuna", "scikit-learn", "safetensors", "ray"),
    *("tensorboard", "wandb", "mlflow", "trackio"),
)
# Variables that change how torch computes.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_LOGS",
)
# Side of the multiplied matrices, bytes that are copied, and seconds for which each is timed.
SIDE, COPIED, SECONDS = 1024, 2**28, 0.3


def print_machine() -> None:
    """Print a line on each part of the machine and of the installation."""
    print_labelled(machine_lines())


def machine_lines() -> list[str]:
    """Return the lines that `print_machine` prints; takes seconds, in which products and copies are timed."""
    cpu = torch.device("cpu")
    memory, unit = all_memory(cpu), bf16_unit(cpu)
    busy = LOAD.cores_of_others()
    shared = Path("/dev/shm")
    lines = [
        f"program   cnntrain {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"packages  {_versions(PACKAGES)}",
        f"optional  {_versions(OPTIONAL) or 'none installed'}",
        f"processor {_processor()}, {os.cpu_count()} cores, {unit or 'no unit for bf16'}"
        + (f", {memory / 1e9:.1f} GB of memory" if memory else ""),
        "precision {} (trainer.precision=auto: {})".format(*automatic_precision(cpu)),
        f"threads   {free_threads()} of {torch.get_num_threads()}; other processes use {busy:.1f} cores",
        f"folder    {shutil.disk_usage(os.curdir).free / 1e9:.0f} GB free, "
        + ("writable" if os.access(os.curdir, os.W_OK) else "not writable")
        + (f"; /dev/shm {shutil.disk_usage(shared).free / 1e9:.1f} GB free" if shared.is_dir() else ""),
    ]
    if found := [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]:
        lines.append(f"variables {', '.join(found)}")
    lines += _device_lines(cpu)
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        lines.append(
            f"cuda:{index}    {properties.name}, {properties.total_memory / 1e9:.1f} GB, capability "
            f"{properties.major}.{properties.minor}, CUDA {torch.version.cuda}, driver's devices visible"
        )
        lines += _device_lines(torch.device("cuda", index))
    if not torch.cuda.is_available():
        lines.append("cuda      no device")
    return lines


def _device_lines(device: torch.device) -> list[str]:
    """Return the rates of products of matrices and of copies on a device."""
    rates = []
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        matrix = torch.randn(SIDE, SIDE, device=device).to(kind)
        seconds = _seconds(lambda matrix=matrix: torch.mm(matrix, matrix), device)  # type: ignore[misc]
        rates.append(f"{name} {2 * SIDE**3 / seconds / 1e9:.0f} GFLOP/s")
    source = torch.empty(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _seconds(lambda: target.copy_(source), device)
    return [
        f"{device.type:<9} products of {SIDE}x{SIDE} matrices: {', '.join(rates)}; "
        f"copies of memory: {COPIED / seconds / 1e9:.1f} GB/s"
    ]


def _seconds(operation: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time of an operation within SECONDS."""
    shortest, ends = float("inf"), time.perf_counter() + SECONDS
    while True:
        started = time.perf_counter()
        operation()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        shortest = min(shortest, now - started)
        if now > ends:
            return shortest


def _versions(packages: tuple[str, ...]) -> str:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _processor() -> str:
    """Return the name of the processor."""
    if sys.platform.startswith("linux"):
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()
