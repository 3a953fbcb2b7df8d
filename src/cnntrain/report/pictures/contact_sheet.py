"""A contact sheet: images in a grid, each with its file's name and what was predicted of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...prediction.predictor import THRESHOLD, Predictor
from ...prediction.result_rows import most_probable
from .fonts import font_for, shortened
from .png import write_image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw

# How many images a sheet shows at most.
SHOWN = 40
# In pixels: the side of an image, gaps, a line of text, the bar of a probability, between image and map.
SIDE, GAP, LINE, BAR, BETWEEN = 144, 14, 19, 4, 2
# Width of a sheet by its height.
ASPECT = 1.25
FONT_SIZE, SMALL_SIZE = 15, 12
LINES = 3
# A second class of a lower probability is not shown.
LEAST = 0.005
TEXT, FAINT, BLUE, TRACK = "#1f2328", "#6e7781", "#2f6fd0", "#e4e8ee"


@dataclass(frozen=True)
class Cell:
    """An image's name, the image and its map, if any, and lines of text, each with a probability, if any."""

    name: str
    pictures: list[Picture]
    lines: list[tuple[str, float | None]]


def caption(predictor: Predictor, results: Tensor) -> list[tuple[str, float | None]]:
    """Return the lines of an image's prediction, results (K,): names, each with its probability, if any."""
    if predictor.target == "classes":
        (names,), (probabilities,) = most_probable(predictor, results[None], 2)
        found = list(zip(names, probabilities.tolist(), strict=True))
        return [pair for rank, pair in enumerate(found) if rank == 0 or pair[1] >= LEAST]
    pairs = list(zip(predictor.names, results.tolist(), strict=True))
    if predictor.target == "values":
        return [(f"{name} {value:.4g}", None) for name, value in pairs[:LINES]]
    present = sorted((pair for pair in pairs if pair[1] > THRESHOLD), key=lambda pair: -pair[1])
    return [*present[:LINES]] or [("none of the attributes", None)]


def draw_contact_sheet(path: Path, cells: list[Cell]) -> None:
    """Write the sheet as PNG; raises DataError."""
    write_image(path, compose_contact_sheet(cells))


def compose_contact_sheet(cells: list[Cell]) -> Picture:
    """Return the picture of the sheet, wider than high."""
    from PIL import Image, ImageDraw

    lines = max(len(cell.lines) for cell in cells)
    width = len(cells[0].pictures) * (SIDE + BETWEEN) - BETWEEN + GAP
    height = SIDE + (1 + lines) * LINE + 2 * BAR + GAP
    columns = min(len(cells), max(1, round(math.sqrt(ASPECT * len(cells) * height / width))))
    rows = math.ceil(len(cells) / columns)
    sheet = Image.new("RGB", (GAP + columns * width, GAP + rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, cell in enumerate(cells):
        left, top = GAP + number % columns * width, GAP + number // columns * height
        for position, picture in enumerate(cell.pictures):
            start = left + position * (SIDE + BETWEEN) + (SIDE - picture.width) // 2
            sheet.paste(picture, (start, top + (SIDE - picture.height) // 2))
        _draw_text(draw, cell, left, top + SIDE + BAR, width - GAP)
    return sheet


def _draw_text(draw: ImageDraw, cell: Cell, left: int, top: int, width: int) -> None:
    """Draw the bar of the first line's probability, the lines, and the name of the file."""
    probability = cell.lines[0][1]
    if probability is not None:
        draw.rectangle((left, top, left + width - 1, top + BAR - 1), fill=TRACK)
        draw.rectangle((left, top, left + max(1, round(width * probability)) - 1, top + BAR - 1), fill=BLUE)
    top += BAR + 2
    texts = [(*line, TEXT if rank == 0 else FAINT, FONT_SIZE) for rank, line in enumerate(cell.lines)]
    for text, number, colour, size in [*texts, (cell.name, None, FAINT, SMALL_SIZE)]:
        font, middle, room = font_for(text, size), top + LINE // 2, width
        if number is not None:
            percent, plain = f"{number:.1%}", font_for("", size)
            draw.text((left + width, middle), percent, fill=colour, font=plain, anchor="rm")
            room -= round(plain.getlength(percent)) + GAP // 2
        draw.text((left, middle), shortened(text, font, room), fill=colour, font=font, anchor="lm")
        top += LINE


def sheet_picture(image: Tensor) -> Picture:
    """Return an image uint8 (H, W, C) whose longer side is SIDE; of other than 3 channels, the first."""
    from PIL import Image

    pixels = image if image.shape[2] == 3 else image[:, :, 0]
    picture = Image.fromarray(pixels.contiguous().to(torch.uint8).numpy()).convert("RGB")
    longer = max(picture.size)
    size = (max(1, round(picture.width * SIDE / longer)), max(1, round(picture.height * SIDE / longer)))
    # Pixels of small images are drawn as squares.
    return picture.resize(size, Image.Resampling.NEAREST if longer <= SIDE // 3 else Image.Resampling.LANCZOS)
