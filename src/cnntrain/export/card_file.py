"""Model cards on disk: one that a user has changed is never replaced."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..errors import DataError
from ..output_streams import print_labelled
from ..runs.atomic_write import write_text

# The last line of a card, by the hash of all before it.
SEAL = "<!-- Written by cnntrain, which replaces it while it is unchanged: sha256 {} -->\n"
SEALED = re.compile(re.escape(SEAL.strip()).replace(re.escape("{}"), "([0-9a-f]{64})") + r"\s*\Z")


def write_card(file: Path, text: str) -> None:
    """Write a model card, or say in a line that the one there was changed and is kept; raises DataError."""
    if _is_changed(file):
        print_labelled([f"kept      {file}: was changed since it was written; remove it for a new one"])
    else:
        write_text(file, text + SEAL.format(_hash(text)))


def _is_changed(file: Path) -> bool:
    """Return whether there is a card that is not as it was written."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return file.is_symlink()  # to nothing
    except UnicodeDecodeError:
        return True
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); remove it") from error
    seal = SEALED.search(text)
    return seal is None or seal[1] != _hash(text[: seal.start()])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
