"""What a machine can do, timed on the spot: a matrix product in a run's precision, and a copy in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..training.device import Compute
from .clocks import Clock

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Rows and columns of the matrices, and bytes that are copied: both exceed the caches.
CPU_SIDE, DEVICE_SIDE = 2048, 8192
COPIED = 256_000_000
REPEATS = 5


@dataclass(frozen=True)
class MachineSpeed:
    """The fastest of a few repetitions each.

    flops: operations a second of a product of square matrices, a multiply-add being two. bytes: read and
    written a second by a copy.
    """

    flops: float
    bytes: float

    def or_faster(self, other: MachineSpeed) -> MachineSpeed:
        """Return the faster of two measurements of each."""
        return MachineSpeed(max(self.flops, other.flops), max(self.bytes, other.bytes))


def machine_speed(compute: Compute, clock: Clock) -> MachineSpeed:
    """Time the device of a run, with the number of threads that torch has now."""
    device, dtype = compute.device, DTYPES[compute.precision]
    side = CPU_SIDE if device.type == "cpu" else DEVICE_SIDE
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty(side, side, device=device, dtype=dtype)
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    multiply = _fastest(lambda: torch.mm(left, right, out=product), clock)
    copy = _fastest(lambda: target.copy_(source), clock)
    return MachineSpeed(2 * side**3 / multiply, 2 * COPIED / copy)


def _fastest(work: Callable[[], object], clock: Clock) -> float:
    """Return the seconds of the fastest of REPEATS repetitions, after one that is not counted."""
    work()
    moments = [clock.mark()]
    for _ in range(REPEATS):
        work()
        moments.append(clock.mark())
    return min(clock.seconds(first, last) for first, last in itertools.pairwise(moments))
