"""An augmentation of the user's own: their function is called on each batch, and tried on random images."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..seeding import derive, generator, seed_torch
from ..settings.network_input import Shape
from ..user_code import UserFunction, kind_of
from .transforms import BatchKey

# Images of the batches on which it is tried, and with how many seeds.
TRIED_IMAGES, TRIED_SEEDS = 16, 4
NOT_REPEATED = (
    "returned other images for the same generator; draw all random numbers from generator, or from the "
    "global ones of torch, numpy and random, which are seeded for each batch"
)


@dataclass(frozen=True)
class CustomTransform:
    """The user's function, called with a batch and a generator seeded for it.

    Libraries draw from the global generators of torch, NumPy and Python: these are seeded for the call too,
    and are as before after it.
    """

    function: UserFunction
    called: Callable[..., Any]

    def __call__(self, images: Tensor, rng: torch.Generator, key: BatchKey) -> Tensor:
        if key.part.start:  # a later part of a batch needs other random numbers than the first
            rng = generator(key.seed, "custom augmentation", key.epoch, key.step, key.part.start)
        purpose = ("custom augmentation", key.epoch, key.step, *([key.part.start] if key.part.start else []))
        with _global_generators(key.seed, *purpose):
            returned = self.called(images, rng, **self.function.arguments)
        if problem := _problem(returned, images):
            raise self.function.wrong(problem)
        assert isinstance(returned, Tensor)
        return returned.contiguous()


def custom_transform(function: UserFunction, image: Shape) -> CustomTransform:
    """Return the user's function as a transform of images of shape (height, width, channels).

    Raises ConfigError where it cannot be called, fails, returns something else than a batch of the same shape
    and type, or other images for the same seed.
    """
    transform = CustomTransform(function, function.load())
    size = (TRIED_IMAGES, *image)
    images = torch.randint(256, size, dtype=torch.uint8, generator=generator(0, "images of a trial"))
    shape = "x".join(map(str, size))
    with function.running(f"calling {function.name} on a batch of {shape}"):
        for seed in range(TRIED_SEEDS):
            first, second = (_tried(transform, images, seed) for _ in range(2))
            if not torch.equal(first, second):
                raise function.wrong(NOT_REPEATED)
    return transform


def _tried(transform: CustomTransform, images: Tensor, seed: int) -> Tensor:
    key = BatchKey(torch.arange(len(images)), seed, 0, 0)
    return transform(images.clone(), generator(seed, "trial"), key).clone()


def _problem(returned: object, images: Tensor) -> str | None:
    """Return what is wrong with the batch that was returned for another, or None."""
    expected = f"uint8 {tuple(images.shape)}"
    if not isinstance(returned, Tensor):
        return f"returned {kind_of(returned)}; it must return the batch, a tensor {expected}"
    if returned.dtype != torch.uint8 or returned.shape != images.shape:
        found = f"{str(returned.dtype).removeprefix('torch.')} {tuple(returned.shape)}"
        return f"returned a tensor {found} for a batch {expected}; it must be of the same type and shape"
    if returned.device != images.device:
        return f"returned a tensor on {returned.device}, the batch is on {images.device}; leave it there"
    return None


@contextmanager
def _global_generators(seed: int, *parts: str | int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python for the context.

    Those of the CPU are restored; each step seeds the others anew.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    value = derive(seed, *parts)
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed, *parts)
        np.random.seed(value % 2**32)
        random.seed(value)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)
