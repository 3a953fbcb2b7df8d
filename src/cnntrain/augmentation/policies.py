"""RandAugment and TrivialAugment of torchvision, applied to one image at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Policy = Callable[[Tensor], Tensor]
# Pixels per side of an image that stands for others in drawing random numbers.
SMALL = 8


def randaugment(num_ops: int, magnitude: int) -> Policy:
    """Return RandAugment (Cubuk et al. 2019): `num_ops` operations of one magnitude for each image."""
    from torchvision.transforms import v2  # takes a second to import

    policy: Policy = v2.RandAugment(num_ops, magnitude, interpolation=v2.InterpolationMode.BILINEAR)
    return policy


def trivialaugment() -> Policy:
    """Return TrivialAugment (Müller and Hutter 2021): one operation of a random magnitude for each image."""
    from torchvision.transforms import v2  # takes a second to import

    policy: Policy = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    return policy


def apply_policy(images: Tensor, policy: Policy, seed: int, before: int = 0) -> Tensor:
    """Return images uint8 (N, H, W, C), transformed by the policy; a pure function of its arguments.

    before: number of images of the same batch that precede them. What is drawn for these does not depend on
    their content, so a small image stands for each.
    """
    # torchvision draws from torch's global generator, whose state is restored afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        small = torch.zeros(images.shape[3], SMALL, SMALL, dtype=images.dtype)
        for _ in range(before):
            policy(small)
        return torch.stack([policy(image.permute(2, 0, 1)).permute(1, 2, 0) for image in images])
