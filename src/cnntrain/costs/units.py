"""Counts and bytes as text."""


def group_digits(number: int) -> str:
    """Return a whole number with its digits in groups of three."""
    return f"{number:_}".replace("_", " ")


def format_bytes(count: int) -> str:
    """Return bytes in GB, MB or kB, of 1000 each, with three digits."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
