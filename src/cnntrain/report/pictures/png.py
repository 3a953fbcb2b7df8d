"""PNG files, written atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ...runs.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def write_figure(path: Path, figure: Figure) -> None:
    """Write a matplotlib figure; raises DataError naming the file if it cannot be written."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    _write(path, content.getvalue())


def write_image(path: Path, image: Image) -> None:
    """Write a Pillow image; raises DataError naming the file if it cannot be written."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    _write(path, content.getvalue())


def _write(path: Path, content: bytes) -> None:
    # Drawn before the file is opened, so that an error in drawing is not reported as a write error.
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
