"""Feature maps of a validation image, and the patches that excite units most, as pictures (W5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...data.image_set import ImageSet
from ...instruments.feature_maps import Patch, feature_maps, strongest_patches
from .image_grid import png_of_sheet

LAYERS, CHANNELS = 4, 8
UNITS, PATCHES = 4, 8
# Images that are searched for patches; of large ones as many as have MAX_PIXELS together.
SEARCHED, MAX_PIXELS = 200, 10**6
# Smaller images, and vectors, have nothing to show.
MIN_SIDE = 4


def maps_and_patches(
    network: nn.Module, preprocess: nn.Module, images: ImageSet, names: list[str]
) -> list[tuple[str, bytes]]:
    """Return (caption, PNG) of the first image's feature maps and of patches; none of networks without maps.

    The network is put into evaluation mode. names: of the classes, [] where labels are none.
    """
    network.eval()
    device = next(network.parameters()).device
    height, width, _ = images.shape
    searched = min(len(images), SEARCHED, max(PATCHES, MAX_PIXELS // (height * width)))
    stored = next(images.subset(torch.arange(searched)).chunks(searched))
    with torch.no_grad():
        inputs = preprocess(stored.to(device))
    if min(inputs.shape[2:]) < MIN_SIDE:
        return []
    maps = feature_maps(network, inputs[:1], LAYERS)
    if not maps:
        return []
    rows = {"image": stored[:1].float() / 255}
    rows |= {f"{name} {tuple(m.shape[2:])}": _scaled(m[0, :CHANNELS]) for name, m in maps.items()}
    caption = "Feature maps of a validation image, the first channels of some layers"
    found = [(f"{caption}{_top_classes(network, inputs[:1], names)}", png_of_sheet(rows))]
    scale = (stored.shape[1] / inputs.shape[2], stored.shape[2] / inputs.shape[3])
    patches: dict[str, Tensor] = {}
    for name in list(maps)[1 : LAYERS - 1]:
        units = list(range(min(UNITS, maps[name].shape[1])))
        for unit, chosen in strongest_patches(network, inputs, name, units, PATCHES).items():
            if chosen:
                patches[f"{name}, {unit}"] = _cut_out(stored, chosen, scale)
    if patches:
        found.append(("Patches of validation images that excite a unit most", png_of_sheet(patches)))
    return found


def _top_classes(network: nn.Module, inputs: Tensor, names: list[str]) -> str:
    if not names:
        return ""
    with torch.no_grad():
        scores = network(inputs).float()[0, : len(names)]
    best = scores.argsort(descending=True)[:3].tolist()
    return f"; its highest scores: {', '.join(f'{names[index]} ({scores[index]:.1f})' for index in best)}"


def _scaled(maps: Tensor) -> Tensor:
    """Return the maps (C, H, W) of one layer as grey images (C, H, W, 1) in 0…1, on one scale."""
    low, high = maps.amin(), maps.amax()
    return ((maps - low) / (high - low).clamp(min=1e-12))[..., None].cpu()


def _cut_out(images: Tensor, patches: list[Patch], scale: tuple[float, float]) -> Tensor:
    """Return the patches (n, H, W, C), all of the size of the largest, moved inside of their image."""
    height, width = images.shape[1:3]
    boxes = [
        (
            round(p.top * scale[0]),
            round(p.left * scale[1]),
            round(p.bottom * scale[0]),
            round(p.right * scale[1]),
        )
        for p in patches
    ]
    tall = min(height, max(1, *(bottom - top for top, _, bottom, _ in boxes)))
    wide = min(width, max(1, *(right - left for _, left, _, right in boxes)))
    cut = []
    for patch, (top, left, bottom, right) in zip(patches, boxes, strict=True):
        y = min(max(0, (top + bottom - tall) // 2), height - tall)
        x = min(max(0, (left + right - wide) // 2), width - wide)
        cut.append(images[patch.image, y : y + tall, x : x + wide])
    return torch.stack(cut).float() / 255
