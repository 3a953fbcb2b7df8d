"""The batch size of a run, which data.batch_size=auto leaves to the number of training images."""

from __future__ import annotations

from dataclasses import replace

from ..settings.config_tree import Config


def with_batch_size(config: Config, images: int | None, stored: int | None = None) -> Config:
    """Return the configuration with a number as its batch size, for so many training images; None: unknown.

    An optimizer that needs all images in one batch has them. stored: what a checkpoint says "auto" is.
    """
    data, steps = config.data, config.trainer.accumulate_steps
    if data.batch_size == "auto" and stored is not None:
        size = stored
    elif data.batch_size == "auto" and images is not None and config.optim.needs_whole_batch():
        size = -(-images // steps)
    else:
        size = data.images_per_batch(images, steps)
    return replace(config, data=replace(data, batch_size=size))
