"""trainer.precision=auto: bfloat16 where the device computes faster in it than in float32."""

from __future__ import annotations

import functools
import os
import time

import torch
from torch import Tensor

# Rows and columns of the matrices that are multiplied in both, how often, and how much faster bfloat16 must
# be. Processors with AVX512-BF16 take half or twice the time for it, so noise does not change the choice.
SIDE, REPEATS, LEAST_GAIN = 512, 7, 1.2


def automatic_precision(device: torch.device) -> tuple[str, str]:
    """Return "bf16" or "fp32", whichever is faster on a device, and why."""
    unit = bf16_unit(device)
    if unit is None:
        return "fp32", "no bf16 unit"
    if device.type == "cpu":
        if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE":
            # bf16 kernels are more and shorter, and threads that sleep in between have to be woken for each:
            # VGG-11 trains 2.2 times slower in bf16 than in fp32 then.
            return "fp32", "with OMP_WAIT_POLICY=PASSIVE, bf16 is slower"
        if unit != "AMX" and bf16_speedup() < LEAST_GAIN:
            return "fp32", f"bf16 is slower with the {unit} of this processor"
    return "bf16", unit


def faster_unit(device: torch.device) -> str | None:
    """Return the unit of a device with which bfloat16 is faster than float32, or None."""
    return bf16_unit(device) if automatic_precision(device)[0] == "bf16" else None


def bf16_unit(device: torch.device) -> str | None:
    """Return the unit of a device that multiplies bfloat16, or None.

    CUDA devices have one from compute capability 8.0; CPUs if they support AMX or AVX512-BF16.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return "tensor cores"
    if device.type == "cpu":
        # torch.cpu.get_capabilities reports the same, but not in all supported versions of torch.
        if torch.cpu._is_amx_tile_supported():
            return "AMX"
        if torch.cpu._is_avx512_bf16_supported():
            return "AVX512-BF16"
    return None


@functools.cache
def bf16_speedup() -> float:
    """Return how many times faster the CPU multiplies matrices in bfloat16 than in float32.

    Timed in turn, so that other programs slow both down; of each the fastest counts. Takes about 0.05 s.
    """
    matrices = [torch.ones(SIDE, SIDE, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    times = [[_seconds(matrix) for matrix in matrices] for _ in range(REPEATS)]
    return min(row[0] for row in times) / min(row[1] for row in times)


def _seconds(matrix: Tensor) -> float:
    started = time.perf_counter()
    torch.mm(matrix, matrix)
    return time.perf_counter() - started
