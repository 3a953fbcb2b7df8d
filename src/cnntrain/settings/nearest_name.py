"""Suggestions for misspelled names."""

import difflib
from collections.abc import Iterable

# Longer text is no misspelled name; comparing it would take long.
MAX_LENGTH = 100


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to `name`, ignoring case, or None where none is similar."""
    if len(name) > MAX_LENGTH:
        return None
    by_lower = {entry.lower(): entry for entry in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str], many: int = 40) -> str:
    """Return "did you mean X?", or "choose one of …" with up to `many` known names if none is similar."""
    choices = list(known)
    match = nearest(name, choices)
    if match is not None:
        return f"did you mean {match}?"
    first = ", ".join(choices[:many])
    return f"choose one of {first}{', …' if len(choices) > many else ''}"
