"""Fonts for names in any script: matplotlib's, else one of the system that has the characters."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont


# Matplotlib's font has the letters before this character: Latin, Greek and Cyrillic. To ask a font for others
# takes matplotlib, which is slow to import.
ALL_IN_DEFAULT = 0x0530


def font_for(text: str, size: int) -> FreeTypeFont:
    """Return a font of this size in pixels that has the characters of a text, or most of them."""
    return _font(_file_for(frozenset(text)), size)


def shortened(text: str, font: FreeTypeFont, width: int) -> str:
    """Return a text, its middle replaced by … where it is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 1 and font.getlength(_without_middle(text, kept)) > width:
        kept -= 1
    return _without_middle(text, kept)


def _without_middle(text: str, kept: int) -> str:
    end = kept // 2
    return f"{text[: kept - end]}…{text[len(text) - end :]}"


@functools.cache
def _font(file: Path, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(str(file), size)


@functools.lru_cache(1000)
def _file_for(characters: frozenset[str]) -> Path:
    codes = {ord(char) for char in characters if not char.isspace()}
    default = _default_file()
    if max(codes, default=0) < ALL_IN_DEFAULT:
        return default
    missing = len(codes - _characters(default))
    best = default
    if missing:
        for file in _system_fonts():
            if len(codes - _characters(file)) < missing:
                best, missing = file, len(codes - _characters(file))
            if not missing:
                break
    return best


@functools.cache
def _default_file() -> Path:
    """Return the path of matplotlib's font, without importing matplotlib.

    It has more characters than Pillow's font, and names are arbitrary.
    """
    matplotlib = importlib.util.find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    return Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


@functools.cache
def _system_fonts() -> list[Path]:
    """Return the font files of the system, in the order of their names, those of plain text faces first."""
    from matplotlib.font_manager import findSystemFonts

    files = [Path(file) for file in findSystemFonts()]
    special = ("bold", "italic", "oblique", "mono", "serif", "light", "thin", "black")
    return sorted(files, key=lambda file: (any(word in file.name.lower() for word in special), file.name))


@functools.cache
def _characters(file: Path) -> frozenset[int]:
    """Return the codes of the characters that a font has, none of a file that cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(str(file)).get_charmap())
    except (RuntimeError, OSError):
        return frozenset()
