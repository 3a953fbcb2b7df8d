"""PNG files, written atomically."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...runs.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def write_figure(path: Path, figure: Figure) -> None:
    """Write a matplotlib figure; raises DataError naming the file if it cannot be written."""
    content = io.BytesIO()
    with missing_glyphs_accepted():
        figure.savefig(content, format="png")
    _write(path, content.getvalue())


def write_image(path: Path, image: Image) -> None:
    """Write a Pillow image; raises DataError naming the file if it cannot be written."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    _write(path, content.getvalue())


@contextmanager
def missing_glyphs_accepted() -> Iterator[None]:
    """Let matplotlib draw boxes, without a warning, for characters of class names that its font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _write(path: Path, content: bytes) -> None:
    # Drawn before the file is opened, so that an error in drawing is not reported as a write error.
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
