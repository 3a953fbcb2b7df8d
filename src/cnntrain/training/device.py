"""The device of a run, its precision, memory format and number of threads."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..convolution.kernels import NoKernels, kernels
from ..convolution.layers import use_winograd
from ..errors import ConfigError
from ..without_compiler import skip_compiler_import
from .cpu_load import LOAD, threads_of_environment
from .precision import automatic_precision
from .settings import ON_CUDA, Trainer


@dataclass(frozen=True)
class Compute:
    """Device, precision and memory format of a run.

    reason: why "auto" chose the precision, as printed. winograd: whether 3x3 convolutions are computed by
    Winograd's algorithm.
    """

    device: torch.device
    precision: str
    memory_format: torch.memory_format
    reason: str
    winograd: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context for a forward pass in this precision."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def describe(self, processes: int = 1) -> str:
        """Return device and precision as printed at the start of a run of so many processes."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        several = f", {processes} processes" if processes > 1 else ""
        device = self.device.type if several else str(self.device)
        computed = f"{self.precision}{self.reason}{', convolutions by Winograd' if self.winograd else ''}"
        return f"{device}{f' ({name})' if name else ''}{several}{threads}, {computed}"


@dataclass(frozen=True)
class Earlier:
    """What a run that is resumed has computed with, since results depend on it; None where not known."""

    threads: int | None = None
    precision: str | None = None
    winograd: bool | None = None

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> Earlier:
        """Return that of a checkpoint's state; None: that of a new run, of which nothing is settled."""
        if state is None:
            return cls()
        # Checkpoints of earlier versions say nothing of Winograd's convolutions, which there were none of.
        return cls(state.get("threads"), state.get("precision"), bool(state.get("winograd")))


def prepare(settings: Trainer, earlier: Earlier = Earlier()) -> Compute:
    """Return the device and precision of the settings, and set torch's global flags accordingly.

    Every flag is set explicitly, so that a run in a sweep does not depend on the previous one. Raises
    ConfigError if the device is not available or does not support the precision.
    """
    torch.set_num_threads(settings.threads or earlier.threads or free_threads())
    if settings.deterministic:
        # cuBLAS reads it when the first CUDA kernel is launched, and is deterministic only with it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if settings.compile is not True:
        skip_compiler_import()
    if torch.are_deterministic_algorithms_enabled() != settings.deterministic:
        # This call, even with False, imports torch's compiler, which takes a second or two.
        torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = not settings.deterministic
    device = _device(settings.device)
    if device.type == "cpu":
        keep_freed_memory()
    name, reason = settings.precision, ""
    if name == "auto" and earlier.precision is not None:
        name, reason = earlier.precision, " (as before)"
    elif name == "auto":
        name, why = automatic_precision(device)
        if settings.winograd is True and device.type == "cpu":
            name, why = "fp32", "trainer.winograd=true"
        reason = f" (auto: {why})"
    if name in ON_CUDA and device.type != "cuda":
        raise ConfigError([f"trainer.precision={name}: needs a CUDA device, this run is on {device}"])
    torch.backends.cuda.matmul.allow_tf32 = name != "fp32"
    torch.backends.cudnn.allow_tf32 = name != "fp32"
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    winograd = device.type == "cpu" and name == "fp32" and _by_winograd(settings, earlier)
    return Compute(device, name, memory_format, reason, winograd)


def _by_winograd(settings: Trainer, earlier: Earlier) -> bool:
    """Return whether convolutions on the CPU in float32 are to be computed by Winograd's algorithm."""
    wanted = settings.winograd
    if wanted == "auto" and earlier.winograd is not None:
        wanted = earlier.winograd
    if wanted is False or settings.compile is not False:
        return False
    try:
        kernels()
    except NoKernels as error:
        if wanted == "auto":
            return False
        given = f"trainer.winograd={str(settings.winograd).lower()}"
        if settings.winograd == "auto":
            raise ConfigError([f"{given}: this run has computed with its kernels, and {error}"]) from error
        raise ConfigError([f"{given}: {error}; write false"]) from error
    return True


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for reuse in the next step.

    By default glibc returns every large block to the system when it is freed, and pages allocated again must
    be zeroed one by one: VGG-11 spends a tenth of each step on that (docs/benchmarks.md). Without glibc
    nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return
    mmap_threshold, trim_threshold = -3, -1  # malloc.h
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)


def free_device_memory() -> None:
    """Give back the memory of tensors that are gone."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def move_to_device(network: nn.Module, compute: Compute) -> None:
    """Move a network to the device of a run, in its memory format."""
    network.to(compute.device).to(memory_format=compute.memory_format)
    if compute.winograd:
        use_winograd(network)
    if compute.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and _overflows_on_avx2(module):
                # For a 1x1 kernel the memory formats differ only in the strides.
                module.weight.data = module.weight.data.contiguous().view(-1).view(module.weight.shape)
                module.register_forward_pre_hook(_in_contiguous_format)


def _in_contiguous_format(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Return a layer's inputs with contiguous strides; `contiguous()` keeps others for a single channel."""
    return (inputs[0].clone(memory_format=torch.contiguous_format),)


def _overflows_on_avx2(module: nn.Conv2d) -> bool:
    """Return whether oneDNN's AVX2 kernel writes beyond its buffers for this layer in channels-last format.

    Observed with torch 2.14.1 for strided 1x1 convolutions with up to six input channels: the C library
    aborts, or memory is overwritten silently.
    """
    return module.kernel_size == (1, 1) and max(module.stride) > 1 and module.in_channels // module.groups < 8


_threads_at_start: int | None = None
# Processes of one run that share the cores of this machine.
_processes = 1


def share_cores(processes: int) -> None:
    """Let `free_threads` divide the cores among so many processes of a run on this machine."""
    global _processes
    _processes = processes


def free_threads() -> int:
    """Return the number of cores that other processes leave free, at most torch's own number of threads.

    If the user has set OMP_NUM_THREADS to a number, that is returned.
    """
    global _threads_at_start
    if _threads_at_start is None:
        # Read before any run of this process changes it.
        _threads_at_start = torch.get_num_threads()
    if threads_of_environment() is not None:
        return _threads_at_start
    free = round((os.cpu_count() or 1) - LOAD.cores_of_others())
    return max(1, min(_threads_at_start, free) // _processes)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError([f"trainer.device={name}: torch finds no CUDA device; write auto or cpu"])
    if device == torch.device("cuda"):
        return torch.device("cuda", torch.cuda.current_device())
    return device
