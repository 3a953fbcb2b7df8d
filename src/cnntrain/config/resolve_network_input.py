"""How an image of some shape reaches the network under a configuration; no data are needed."""

from __future__ import annotations

from ..model.settings.base import enlarged_size
from ..settings.config_tree import Config
from ..settings.network_input import NetworkInput, Shape


def resolve_network_input(config: Config, image: Shape) -> NetworkInput:
    """Return the network input of images (height, width, channels) that fit the configuration."""
    cropped = config.augmentation.cropped_size((image[0], image[1]))
    height, width, channels = config.preprocessing.output_shape(*cropped, image[2])
    enlarged = enlarged_size(config.model, (height, width))
    crop = None if cropped == (image[0], image[1]) else cropped
    return NetworkInput(image, crop, enlarged, (*(enlarged or (height, width)), channels))


def input_problems(config: Config, image: Shape) -> list[str]:
    """Return a line for each setting that does not fit images (height, width, channels)."""
    problems: list[str] = config.augmentation.input_problems(*image)
    if problems:
        return problems
    cropped = config.augmentation.cropped_size((image[0], image[1]))
    found: list[str] = config.preprocessing.input_problems(*cropped, image[2])
    return found
