"""The number of threads by free cores, and the memory format of layers that a library computes wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cnntrain.cli import main
from cnntrain.runs.checkpoint import read
from cnntrain.training import cpu_load, device
from cnntrain.training.device import Compute, free_threads, move_to_device

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


def test_a_resumed_run_keeps_its_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    quick = ["trainer.epochs=2", "trainer.max_steps_per_epoch=2", "trainer.pictures=false"]
    try:
        monkeypatch.setattr(device, "free_threads", lambda: 2)
        assert main([f"hydra.run.dir={tmp_path}", *quick, "trainer.max_minutes=1e-9"]) == 0
        monkeypatch.setattr(device, "free_threads", lambda: 1)
        assert main([f"run={tmp_path}", "trainer.max_minutes=null"]) == 0
        assert torch.get_num_threads() == 2
        assert read(tmp_path / "checkpoints" / "last.pt")["threads"] == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_strided_1x1_convolutions_are_correct_with_channels_last(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, 16, 1, 2)
    images = torch.randn(4, channels, 8, 8)
    # A 1x1 convolution with stride 2 is a linear layer on every second pixel.
    pixels = images[:, :, ::2, ::2].permute(0, 2, 3, 1)
    expected = nn.functional.linear(pixels, layer.weight.flatten(1), layer.bias).permute(0, 3, 1, 2)
    move_to_device(layer, CHANNELS_LAST)
    for _ in range(20):
        inputs = images.to(memory_format=torch.channels_last).requires_grad_()
        outputs = layer(inputs)
        outputs.sum().backward()
    torch.testing.assert_close(outputs, expected)
    per_pixel = layer.weight.detach().sum(0).expand(4, -1, 4, 4)
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad[:, :, ::2, ::2], per_pixel)
