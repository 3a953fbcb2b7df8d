"""A sheet of images in named rows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .fonts import font_for, shortened
from .png import write_image

if TYPE_CHECKING:
    from PIL.Image import Image

# In pixels: small images are enlarged to about SIDE; GAP is between images and around the sheet.
SIDE = 64
GAP = 4
FONT_SIZE = 14


def save_sheet(path: Path, rows: dict[str, Tensor], columns: list[str] | None = None) -> None:
    """Write rows of images as one PNG, with each row's name to its left and the columns' above them.

    rows: name → (n, H, W, C) in 0…1; C = 3 is colour, else the first channel is drawn in grey. Images are
    enlarged by an integer factor to about 64 pixels. Raises DataError.
    """
    write_image(path, compose_sheet(rows, columns))


def png_of_sheet(rows: dict[str, Tensor]) -> bytes:
    """Return the PNG that `save_sheet` writes."""
    content = io.BytesIO()
    compose_sheet(rows).save(content, format="PNG")
    return content.getvalue()


def compose_sheet(rows: dict[str, Tensor], columns: list[str] | None = None) -> Image:
    """Return the picture of `save_sheet`; its longest row ends GAP before the right edge."""
    from PIL import Image, ImageDraw

    strips = {name: _strip(images) for name, images in rows.items()}
    left = 2 * GAP + round(max(font_for(name, FONT_SIZE).getlength(name) for name in strips))
    width = left + max(strip.shape[1] for strip in strips.values()) + GAP
    heading = FONT_SIZE + 2 * GAP if columns else 0
    height = GAP + heading + sum(strip.shape[0] + GAP for strip in strips.values())
    sheet = Image.new("RGB", (width, height), "white")
    draw, top = ImageDraw.Draw(sheet), GAP
    if columns:
        step = (next(iter(strips.values())).shape[1] + GAP) // len(columns)
        for number, name in enumerate(columns):
            font = font_for(name, FONT_SIZE)
            text = shortened(name, font, step - GAP)
            draw.text((left + number * step, top), text, fill="black", font=font)
        top += heading
    for name, strip in strips.items():
        font = font_for(name, FONT_SIZE)
        draw.text((GAP, top + strip.shape[0] // 2), name, fill="black", font=font, anchor="lm")
        sheet.paste(Image.fromarray(strip.numpy()), (left, top))
        top += strip.shape[0] + GAP
    return sheet


def _strip(images: Tensor) -> Tensor:
    """Return images side by side with white gaps, uint8 (height, width, 3); see `save_sheet`."""
    count, height, width, channels = images.shape
    if channels != 3:
        images = images[..., :1].expand(-1, -1, -1, 3)
    factor = max(1, round(SIDE / max(height, width)))
    enlarged = images.cpu().repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    pixels = (enlarged * 255).round().clamp(0, 255).to(torch.uint8)
    height, width = height * factor, width * factor
    strip = torch.full((height, count * (width + GAP) - GAP, 3), 255, dtype=torch.uint8)
    for number, image in enumerate(pixels):
        start = number * (width + GAP)
        strip[:, start : start + width] = image
    return strip
