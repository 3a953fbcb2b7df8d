"""The device of a run: where it computes, in which precision and memory format, and who decided."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from .config.trainer import Trainer
from .errors import ConfigError


@dataclass(frozen=True)
class Compute:
    """Where and in which number format a network runs."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format
    reason: str

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of a forward pass in this precision."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision, torch.float32)
        return torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32")

    def describe(self) -> str:
        """Return the device and precision for the first lines of a run."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device}{f' ({name})' if name else ''}{threads}, {self.precision}{self.reason}"


def prepare(settings: Trainer) -> Compute:
    """Return the device and precision the settings ask for, and set torch's global switches to them.

    Every switch is set whatever its value, so that a run in a sweep inherits nothing from the one before.
    Raises ConfigError where the device is not there or cannot compute in the precision.
    """
    torch.set_num_threads(settings.threads or _default_threads())
    if settings.deterministic:
        # cuBLAS reads it when the first CUDA kernel is launched, and is deterministic only with it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = not settings.deterministic
    torch.backends.cuda.matmul.allow_tf32 = settings.precision != "fp32"
    torch.backends.cudnn.allow_tf32 = settings.precision != "fp32"
    device = _device(settings.device)
    precision, reason = settings.precision, ""
    if precision == "auto":
        precision, reason = ("bf16", " (auto)") if faster_in_bf16(device) else ("fp32", " (auto)")
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError([f"trainer.precision=fp16: needs a CUDA device, this run is on {device}"])
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    return Compute(device, precision, memory_format, reason)


def faster_in_bf16(device: torch.device) -> bool:
    """Return whether the device has bfloat16 arithmetic: CUDA from 8.0, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return bool(has.get("amx_bf16") or has.get("avx512_bf16"))
    return False


_threads_at_start: int | None = None


def _default_threads() -> int:
    """Return torch's own number of threads, as it was before any run of this process changed it."""
    global _threads_at_start
    if _threads_at_start is None:
        _threads_at_start = torch.get_num_threads()
    return _threads_at_start


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError([f"trainer.device={name}: torch finds no CUDA device; write auto or cpu"])
    if device == torch.device("cuda"):
        return torch.device("cuda", torch.cuda.current_device())
    return device
