"""Threads of resumed runs, and the memory format of convolutions that oneDNN computes wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cnntrain.cli import main
from cnntrain.runs.checkpoint import read
from cnntrain.training import device
from cnntrain.training.device import Compute, move_to_device

CHANNELS_LAST = Compute(torch.device("cpu"), "fp32", torch.channels_last, "")


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
