"""Measuring in turns, and the rule by which job=benchmark recommends a network."""

from __future__ import annotations

import gc
import itertools

import pytest
import torch
from torch import Tensor

from cnntrain.export.candidates import Candidate, loss_of, recommended
from cnntrain.export.latency import LEAST_CALLS, Latency, measure


def test_networks_are_measured_in_turns_on_the_same_images_without_garbage_collection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    calls: list[str] = []
    images = torch.zeros(3, 2, 2, 1, dtype=torch.uint8)

    def network(name: str, seconds: float) -> object:
        def predict(given: Tensor) -> Tensor:
            assert given is images
            assert not gc.isenabled()
            assert torch.get_num_threads() == 1
            clock[0] += seconds
            calls.append(name)
            return given

        return predict

    found = measure({"fast": network("fast", 0.01), "slow": network("slow", 0.02)}, images, 1, 1.0)
    assert gc.isenabled()
    assert (found["fast"].p50, found["slow"].p50) == (pytest.approx(0.01), pytest.approx(0.02))
    assert found["fast"].batch == 3
    assert min(latency.calls for latency in found.values()) >= LEAST_CALLS
    # Neither has its calls all at once: a change of the machine's load meets both.
    changes = sum(one != other for one, other in itertools.pairwise(calls))
    assert changes > 20


def of(name: str, value: float, milliseconds: float) -> Candidate:
    latencies = [Latency(1, 1, 20, milliseconds, milliseconds), Latency(1, 2, 20, 9.0, 9.0)]
    return Candidate(name, 1, value, lambda threads: lambda images: images, latencies)


@pytest.mark.parametrize(
    ("others", "points", "expected"),
    [
        ([of("exact", 0.90, 0.5), of("rounded", 0.895, 0.3)], 1.0, "rounded"),
        ([of("exact", 0.90, 0.5), of("rounded", 0.88, 0.3)], 1.0, "exact"),
        ([of("exact", 0.90, 0.31), of("rounded", 0.895, 0.30)], 1.0, "exact"),  # within 5 %
        ([of("exact", 0.90, 2.0), of("better", 0.91, 2.0)], 0.0, "run"),
    ],
)
def test_the_fastest_that_loses_little_is_recommended(
    others: list[Candidate], points: float, expected: str
) -> None:
    found = [of("run", 0.90, 1.0), *others]
    assert recommended(found, 1, points, "accuracy").name == expected


def test_of_errors_a_larger_one_is_a_loss_in_percent() -> None:
    assert loss_of(of("", 0.22, 1), of("", 0.20, 1), "mean_absolute_error") == pytest.approx(10.0)
    assert loss_of(of("", 0.89, 1), of("", 0.90, 1), "accuracy") == pytest.approx(1.0)
