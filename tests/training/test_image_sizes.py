"""The size of training images as a function of the step, and which networks take images of several sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as vision

from cnntrain.cli import main
from cnntrain.training.image_sizes import ImageSizes


def test_the_shorter_side_rises_by_four_pixels_at_equal_intervals() -> None:
    sizes = ImageSizes(22, (32, 64), 30)
    heights = [sizes.size(step)[0] for step in range(40)]
    assert heights == [22] * 10 + [26] * 10 + [30] * 10 + [32] * 10
    assert [sizes.size(step)[1] for step in (0, 10, 20, 30)] == [44, 52, 60, 64]


def test_smaller_images_are_those_of_torchvisions_antialiased_resize() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 16, 24)
    resized = ImageSizes(12, (16, 24), 5).resized(images, 0)
    torch.testing.assert_close(resized, vision.resize(images, [12, 18], antialias=True))
    assert not torch.allclose(resized, F.interpolate(images, (12, 18), mode="bilinear"))
    assert ImageSizes(12, (16, 24), 5).resized(images, 5) is images


def test_a_network_made_for_one_size_and_sides_that_are_not_smaller_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    for size, reason in (
        (6, "trainer.initial_size=6: the network takes no images of 6x6"),
        (8, "the network's images are 8x8; write at most 7, or null"),
    ):
        assert main([f"hydra.run.dir={folder}", "model=mlp", f"trainer.initial_size={size}"]) == 2
        assert reason in capsys.readouterr().err
        assert not folder.exists()
