"""A map of the pixels that a prediction depends on, to look at and to save."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..runs.atomic_write import atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

# A map is drawn in these colours over the image in pale grey: what speaks for the prediction, and against.
FOR, AGAINST = (200, 30, 30), (30, 80, 200)
STRENGTH = 0.85
DRAWN_SIDE = 256


@dataclass(frozen=True, repr=False)
class Explanation:
    """A map of how much each pixel matters for one class, attribute or value.

    values: float32 (H, W) of the stored image's height and width. Of occlusion, by how much the log-odds of
    the class or attribute, or the value, fall where a pixel is covered, negative where they rise; of the
    gradient, its largest absolute value over the channels. pixels: the image uint8 (H, W, C) as the network
    saw it. name: of the class, attribute or value. prediction: its probability, or the value.
    """

    values: Tensor
    pixels: Tensor
    name: str
    prediction: float
    method: str

    def __repr__(self) -> str:
        height, width = self.values.shape
        row, column = divmod(int(self.values.argmax()), width)
        return (
            f"Explanation({self.name} {self.prediction:.3g}, {self.method} map of {height}x{width}, "
            f"largest {float(self.values.max()):.3g} at row {row}, column {column})"
        )

    def image(self, side: int = DRAWN_SIDE) -> Image:
        """Return the map over the image in grey as a Pillow image whose longer side has so many pixels.

        What speaks for the prediction is red, what speaks against it is blue.
        """
        from PIL import Image

        grey = self.pixels.float().mean(2, keepdim=True).expand(-1, -1, 3) * 0.6 + 255 * 0.4
        strength = self.values / self.values.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
        colour = torch.where(strength[..., None] > 0, torch.tensor(FOR), torch.tensor(AGAINST))
        weight = STRENGTH * strength.abs()[..., None]
        mixed = (1 - weight) * grey + weight * colour
        picture = Image.fromarray(mixed.round().to(torch.uint8).numpy())
        factor = side / max(picture.size)
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        return picture.resize(size, Image.Resampling.NEAREST if factor >= 3 else Image.Resampling.LANCZOS)

    def save(self, path: str | Path) -> None:
        """Write `image()` into a file of the format that its name ends with; raises DataError."""
        from PIL import Image

        path = Path(path)
        endings = Image.registered_extensions()
        content = io.BytesIO()
        self.image().save(content, format=endings.get(path.suffix.lower(), "PNG"))
        with atomic_write(path) as temporary:
            temporary.write_bytes(content.getvalue())
