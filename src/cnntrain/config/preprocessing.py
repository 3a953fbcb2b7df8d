"""Settings of preprocessing (group `preprocessing`): statistics come from the training split only."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import fixed, setting


@dataclass
class Preprocessing:
    """What every preprocessing has. Pixels are scaled from 0…255 to 0…1 before it."""

    name: str = ""


@dataclass
class NoPreprocessing(Preprocessing):
    """Pixels between 0 and 1, as they are."""

    name: str = fixed("none")


@dataclass
class Center(Preprocessing):
    """Subtract the mean of the training split (D2)."""

    name: str = fixed("center")
    per: str = setting("channel", "one mean per channel, or one per pixel", choices=("channel", "pixel"))


@dataclass
class Standardize(Preprocessing):
    """Subtract the mean of the training split and divide by its standard deviation (D3)."""

    name: str = fixed("standardize")
    per: str = setting(
        "channel", "one mean and deviation per channel, or per pixel", choices=("channel", "pixel")
    )
