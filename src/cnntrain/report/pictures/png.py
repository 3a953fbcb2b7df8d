"""PNG files that are there whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ...runs.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure of matplotlib; raises DataError naming the file where the disk refuses."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    _write(path, content.getvalue())


def write_image(path: Path, image: Image) -> None:
    """Write an image of Pillow; raises DataError naming the file where the disk refuses."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    _write(path, content.getvalue())


def _write(path: Path, content: bytes) -> None:
    # Drawn before the file is opened, so that an error of drawing is not reported as one of the disk.
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
