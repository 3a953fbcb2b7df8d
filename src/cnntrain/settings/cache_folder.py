"""The folder of the user in which archives are unpacked and decoded images are kept."""

from __future__ import annotations

import os
from pathlib import Path

# What a cache of decoded images has in it: the file that says of what.
ABOUT = "about.json"


def cache_folder(content: str) -> Path:
    """Return the folder of some content below $XDG_CACHE_HOME/cnntrain, or ~/.cache/cnntrain."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "cnntrain" / content


def amount(size: float) -> str:
    """Return so many bytes in MB or GB."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
