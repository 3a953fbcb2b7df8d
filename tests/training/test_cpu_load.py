"""Threads by the load of other processes: the cores they leave free, measured as the kernel counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cnntrain.training import cpu_load, device
from cnntrain.training.device import Compute, free_threads
from cnntrain.training.settings import Trainer

CHANNELS_LAST = Compute(torch.device("cpu"), "fp32", torch.channels_last, "")


@pytest.mark.parametrize(
    ("cores", "default", "others", "threads"),
    [(2, 2, 0.1, 2), (2, 2, 1.0, 1), (2, 2, 3.7, 1), (16, 8, 4.0, 8), (16, 8, 11.2, 5), (64, 2, 60.0, 2)],
)
def test_threads_are_the_cores_that_others_leave_free(
    monkeypatch: pytest.MonkeyPatch, cores: int, default: int, others: float, threads: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(device, "_threads_at_start", default)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr(device.LOAD, "cores_of_others", lambda: others)
    assert free_threads() == threads


@pytest.mark.parametrize(
    ("text", "is_number"),
    [("abc", False), ("", False), ("0", False), ("-1", False), ("3", True), ("2,1", True)],
)
def test_what_openmp_ignores_is_noticed_and_no_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, text: str, is_number: bool
) -> None:
    monkeypatch.setattr(device, "_threads_at_start", 2)
    monkeypatch.setattr(device.LOAD, "cores_of_others", lambda: 99.0)
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert free_threads() == (2 if is_number else 1)
    notices = [line for line in Trainer().problems() if line.startswith(f"OMP_NUM_THREADS={text}: ")]
    assert len(notices) == int(not is_number)


def test_the_number_of_threads_set_by_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(device, "_threads_at_start", 2)
    monkeypatch.setattr(device.LOAD, "cores_of_others", lambda: 99.0)
    assert free_threads() == 2


def test_the_load_of_others_is_the_total_load_minus_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # time, seconds of busy cores, seconds of this process
    readings = iter([(0.0, 10.0, 5.0), (2.0, 16.0, 7.0), (2.1, 16.3, 7.0), None])
    monkeypatch.setattr(cpu_load, "_cpu_times", lambda: next(readings))
    meter = cpu_load.LoadMeter()
    assert meter.cores_of_others() == 2.0
    assert meter.cores_of_others() == 0.0  # too short a time
    assert meter.cores_of_others() == 0.0  # no longer readable


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux has /proc/stat")
def test_cpu_times_include_the_time_of_this_process() -> None:
    before = cpu_load._cpu_times()
    while (now := cpu_load._cpu_times()) and before and now[2] - before[2] < 0.05:
        pass
    assert before is not None
    assert now is not None
    assert now[1] - before[1] >= 0.04  # two clock ticks may lie between the two counters
    assert now[1] > now[2]
