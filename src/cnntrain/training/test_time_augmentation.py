"""Test-time augmentation: predictions averaged over several views of an image (E7)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..augmentation.geometry import reflected
from ..data.batches import Batches
from ..errors import ConfigError
from ..loss.criterion import Criterion
from ..settings.job_settings import Evaluate
from ..settings.network_input import NetworkInput
from .device import Compute

# How often each of `mirrored_shifts` counts: the shifted ones together as much as the others.
MIRROR_SHIFTS_COUNTS = (2, 2, 1, 1, 1, 1)
# Fraction of each side that the ten crops have if training used no crops: 224 of 256.
CROP_FRACTION = 7 / 8


@dataclass(frozen=True)
class Views:
    """A function from a batch (N, H, W, C) to the list of its views, and their description.

    counts: how often each view counts, None for once. fraction: that of the images, the least certain, of
    which views are made.
    """

    make: Callable[[Tensor], list[Tensor]]
    description: str
    counts: tuple[int, ...] | None = None
    fraction: float = 1.0


def build_views(settings: Evaluate, network_input: NetworkInput) -> Views | None:
    """Return the views of stored images selected by evaluate.views, None for "none".

    Raises ConfigError if images are too small for them.
    """
    height, width, _ = network_input.image
    smallest = (settings.shift or 1) + 1
    if settings.views != "none" and min(height, width) < smallest:
        setting = "views" if settings.shift is None else "shift"
        value = getattr(settings, setting)
        raise ConfigError([f"evaluate.{setting}={value}: images of {height}x{width} are too small for it"])
    shift = max(1, min(height, width) // 16) if settings.shift is None else settings.shift
    crop = network_input.crop or (max(1, round(height * CROP_FRACTION)), max(1, round(width * CROP_FRACTION)))
    views = {
        "none": None,
        "mirror": Views(mirrored, "2 views: the image and its mirror image"),
        "shifts": Views(
            lambda images: shifted(images, shift), f"9 views: shifted by {shift} pixels in each direction"
        ),
        "mirror_shifts": Views(
            lambda images: mirrored_shifts(images, shift),
            f"6 views: the image, shifted by {shift} pixels along a diagonal both ways, and mirrored",
            MIRROR_SHIFTS_COUNTS,
        ),
        "ten_crops": Views(
            lambda images: ten_crops(images, crop, None if network_input.crop else (height, width)),
            f"10 views: corners and center of {crop[0]}x{crop[1]}, and mirrored",
        ),
    }[settings.views]
    if views is None or settings.views_fraction == 1:
        return views
    of = f"of the {settings.views_fraction:.4g} of the images that are least certain, "
    return replace(views, description=of + views.description, fraction=settings.views_fraction)


def mirrored(images: Tensor) -> list[Tensor]:
    """Return the images and their left-right mirror images."""
    return [images, images.flip(2)]


def shifted(images: Tensor, shift: int) -> list[Tensor]:
    """Return the images shifted by -shift, 0 and shift pixels down and right, padded with zeros."""
    height, width = images.shape[1:3]
    padded = F.pad(images, (0, 0, shift, shift, shift, shift))
    offsets = (0, shift, 2 * shift)
    return [padded[:, top : top + height, left : left + width] for top in offsets for left in offsets]


def mirrored_shifts(images: Tensor, shift: int) -> list[Tensor]:
    """Return the images, shifted down and right, shifted up and left, each followed by its mirror image.

    What is shifted in is the reflection of the image at its border (Jordan 2024, multi-crop evaluation).
    """
    height, width = images.shape[1:3]
    padded = reflected(images, shift)
    ends = [padded[:, top : top + height, top : top + width] for top in (0, 2 * shift)]
    return [view for one in (images, *ends) for view in mirrored(one)]


def ten_crops(images: Tensor, crop: tuple[int, int], size: tuple[int, int] | None) -> list[Tensor]:
    """Return crops of (height, width) = crop at the four corners and the center, and their mirror images.

    If `size` is given, they are resized to it, in float32 (Krizhevsky et al. 2012, section 4.1).
    """
    from torchvision.transforms.v2.functional import ten_crop  # takes a second to import

    views = list(ten_crop(images.permute(0, 3, 1, 2), list(crop)))
    if size is not None:
        views = [F.interpolate(view.float(), size, mode="bilinear", align_corners=False) for view in views]
    return [view.permute(0, 2, 3, 1) for view in views]


@torch.inference_mode()
def evaluate_views(
    network: nn.Module,
    preprocess: Callable[[Tensor], Tensor],
    criterion: Criterion,
    batches: Batches,
    compute: Compute,
    views: Views,
) -> dict[str, float | None]:
    """Return the metrics of predictions averaged over the views of each image of a split.

    With a fraction, over those of the least certain images; the others are predicted as they are.
    """
    network.eval()

    def predicted(images: Tensor) -> Tensor:
        inputs = preprocess(images)
        with compute.autocast():
            scores: Tensor = network(inputs)
        return scores.float()

    def over_views(images: Tensor) -> Tensor:
        made = views.make(images)
        counts = views.counts or [1] * len(made)
        scores = [[predicted(view)] * count for view, count in zip(made, counts, strict=True)]
        return criterion.combine([one for same in scores for one in same])

    metrics = criterion.metrics()
    if views.fraction == 1:
        for images, labels in batches.in_order():
            metrics.add(over_views(images), labels)
        return metrics.result().values
    plain = [predicted(images) for images, _ in batches.in_order()]
    chosen = least_certain(torch.cat([criterion.probabilities(scores) for scores in plain]), views.fraction)
    parts = torch.split(chosen, [len(scores) for scores in plain])
    for (images, labels), scores, again in zip(batches.in_order(), plain, parts, strict=True):
        combined = criterion.combine([scores])
        if again.any():
            combined[again] = over_views(images[again]).to(combined.dtype)
        metrics.add(combined, labels)
    return metrics.result().values


def least_certain(probabilities: Tensor, fraction: float) -> Tensor:
    """Return which images (N,) are the fraction whose two most probable classes of (N, K) are closest."""
    first, second = probabilities.topk(2, dim=1).values.unbind(1)
    order = (first - second).argsort(stable=True)
    chosen = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    chosen[order[: math.ceil(fraction * len(order))]] = True
    return chosen
