"""The nearest valid choice to what the user wrote."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like `word`, by letters whatever their case, or None."""
    by_lower = {entry.lower(): entry for entry in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], many: int = 40) -> str:
    """Return "did you mean X?", or the list of what is known where nothing is near (at most `many`)."""
    listed = list(known)
    near = nearest(word, listed)
    if near is not None:
        return f"did you mean {near}?"
    shown = ", ".join(listed[:many])
    return f"choose one of {shown}{', …' if len(listed) > many else ''}"
