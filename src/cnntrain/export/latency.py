"""How long networks take for a batch: all of them in turn, with the same images, on the same machine."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Predict = Callable[[Tensor], Tensor]
# Calls before the first measurement, and measured ones at least.
WARM_UP, LEAST_CALLS = 5, 20
# Seconds that a network is measured before the next one has its turn. The first call of a turn is not
# counted: threads and caches still belong to the network before it.
TURN = 0.05


@dataclass(frozen=True)
class Latency:
    """Seconds per call of a network with one batch size and number of threads: median and 95th percentile."""

    batch: int
    threads: int
    calls: int
    p50: float
    p95: float


def measure(networks: dict[str, Predict], images: Tensor, threads: int, seconds: float) -> dict[str, Latency]:
    """Return the latency of each network, by name, for one batch of images.

    Networks are measured in turns, in an order that moves on by one in every round, until each has been
    measured for about `seconds`; the garbage collector is off meanwhile. Torch computes with `threads`
    threads; onnxruntime has been told its own number before.
    """
    found: dict[str, list[float]] = {name: [] for name in networks}
    order, round_number = list(networks), 0
    with _threads(threads), _without_garbage_collection():
        for predict in networks.values():
            for _ in range(WARM_UP):
                predict(images)
        while any(sum(times) < seconds or len(times) < LEAST_CALLS for times in found.values()):
            start = round_number % len(order)
            for name in (*order[start:], *order[:start]):
                found[name] += _turn(networks[name], images)
            round_number += 1
    return {name: _latency(times, len(images), threads) for name, times in found.items()}


def _turn(predict: Predict, images: Tensor) -> list[float]:
    predict(images)
    times: list[float] = []
    until = time.perf_counter() + TURN
    while not times or time.perf_counter() < until:
        start = time.perf_counter()
        predict(images)
        times.append(time.perf_counter() - start)
    return times


def _latency(times: list[float], batch: int, threads: int) -> Latency:
    values = torch.tensor(times, dtype=torch.float64)
    p50, p95 = (float(values.quantile(q)) for q in (0.5, 0.95))
    return Latency(batch, threads, len(times), p50, p95)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
