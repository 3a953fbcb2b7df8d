"""Crops and flips against slices made one image at a time, and as pure functions of (seed, epoch, step)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cnntrain.config.augmentation import Auto, CropFlip
from cnntrain.data.augmentation import Augment, build_augmentation, crop, flip


@pytest.mark.parametrize("shape", [(5, 8, 8, 1), (4, 6, 9, 3), (3, 5, 4, 2)])
@pytest.mark.parametrize("padding", [1, 3])
def test_crop_takes_each_images_window_of_the_padded_image(shape: tuple[int, ...], padding: int) -> None:
    torch.manual_seed(0)
    count, height, width, _ = shape
    images = torch.randint(256, shape, dtype=torch.uint8)
    down = torch.tensor([0, 2 * padding, 1, padding, 2][:count])
    right = torch.tensor([2 * padding, 0, padding, 1, 0][:count])
    cropped = crop(images, padding, down, right)
    for i in range(count):
        padded = F.pad(images[i].permute(2, 0, 1), [padding] * 4).permute(1, 2, 0)
        window = padded[down[i] : down[i] + height, right[i] : right[i] + width]
        assert torch.equal(cropped[i], window)


def test_flip_mirrors_the_chosen_images_left_right() -> None:
    images = torch.arange(2 * 2 * 3 * 1).view(2, 2, 3, 1)
    flipped = flip(images, torch.tensor([True, False]))
    assert flipped[0, :, :, 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert torch.equal(flipped[1], images[1])


def test_draws_depend_on_seed_epoch_and_step_alone() -> None:
    augment = Augment(2, True)
    images = torch.randint(256, (64, 8, 8, 3), dtype=torch.uint8)
    first = augment(images, 1, 2, 3)
    torch.manual_seed(99)
    assert torch.equal(augment(images, 1, 2, 3), first)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(augment(images, *other), first)


def test_every_place_and_both_directions_are_drawn_evenly() -> None:
    # One lit pixel in the middle tells where the window lies; 9 places, each with probability 1/9.
    images = torch.zeros(9000, 3, 3, 1)
    images[:, 1, 1] = 1
    shifted = Augment(1, False)(images, 0, 0, 0)
    share = shifted.mean(0).flatten()
    assert share.sum() == pytest.approx(1.0)
    assert (share - 1 / 9).abs().max() < 5 * (1 / 9 * 8 / 9 / 9000) ** 0.5
    images = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1).repeat(9000, 1, 1, 1)
    mirrored = Augment(0, True)(images, 0, 0, 0)
    assert abs(mirrored[:, 0, 1, 0].mean().item() - 0.5) < 5 * 0.5 / 9000**0.5


def test_auto_takes_what_suits_the_data_and_an_eighth_of_the_side() -> None:
    assert build_augmentation(Auto(), "crop", 8, 8) == Augment(1, False)
    assert build_augmentation(Auto(), "crop_flip", 32, 40) == Augment(4, True)
    assert build_augmentation(Auto(), "none", 32, 32) == Augment(0, False)
    assert build_augmentation(CropFlip(crop_padding=3, flip=False), "crop_flip", 32, 32) == Augment(3, False)
