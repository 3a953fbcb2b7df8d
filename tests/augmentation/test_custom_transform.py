"""Augmentations of the user's own: what they draw from, and what a trial on random images finds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cnntrain.augmentation import geometry
from cnntrain.augmentation.settings import Custom, Transforms
from cnntrain.augmentation.transforms import Augment
from cnntrain.errors import ConfigError

IMAGES = torch.randint(256, (20, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    return geometry.flip(images, torch.rand(len(images), generator=generator) < 0.5)


def by_global_generators(images: Tensor, generator: torch.Generator) -> Tensor:
    moved = images.roll(int(torch.randint(4, ())) + 4 * random.randrange(4), 1)
    return moved.roll(int(np.random.randint(5)), 2)


def unseeded(images: Tensor, generator: torch.Generator) -> Tensor:
    return images.roll(int(np.random.default_rng().integers(4)), 1)


def scaled(images: Tensor, generator: torch.Generator) -> Tensor:
    return images / 255


def cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    return images[:, 1:]


def on_threads(images: Tensor, generator: torch.Generator) -> Tensor:
    torch.set_num_threads(3)
    return images


def in_numpy(images: Tensor, generator: torch.Generator) -> Any:
    return images.numpy()


def build(name: str) -> Augment:
    return Custom(function=f"{__name__}:{name}").build("crop", (4, 5, 3), [])


def augmented(augment: Augment, epoch: int = 0, step: int = 0) -> Tensor:
    return augment(IMAGES, torch.arange(len(IMAGES)), 3, epoch, step)


def test_a_function_with_the_draws_of_the_built_in_flip_gives_the_same_images() -> None:
    built_in = Transforms(flip=True).build("crop", (4, 5, 3), [])
    for step in range(3):
        assert torch.equal(augmented(build("flip"), step=step), augmented(built_in, step=step))


def test_global_generators_are_seeded_by_epoch_and_step_and_are_then_as_before() -> None:
    augment = build("by_global_generators")
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    first = [augmented(augment, epoch, step) for epoch in range(2) for step in range(4)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]
    torch.manual_seed(7)
    random.seed(7)
    again = [augmented(augment, epoch, step) for epoch in range(2) for step in range(4)]
    assert all(map(torch.equal, first, again))
    assert len({bytes(images.numpy()) for images in first}) > 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unseeded", "returned other images for the same generator; draw all random numbers from generator"),
        ("scaled", r"returned a tensor float32 (16, 4, 5, 3) for a batch uint8 (16, 4, 5, 3)"),
        ("cropped", "returned a tensor uint8 (16, 3, 5, 3) for a batch uint8 (16, 4, 5, 3)"),
        ("on_threads", "on a batch of 16x4x5x3 changes the number of torch's threads; take that out"),
        ("in_numpy", "returned a ndarray; it must return the batch, a tensor uint8 (16, 4, 5, 3)"),
    ],
)
def test_what_cannot_be_trained_on_or_repeated_is_refused(name: str, expected: str) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ConfigError) as caught:
        build(name)
    assert expected in str(caught.value)
    assert torch.get_num_threads() == threads
