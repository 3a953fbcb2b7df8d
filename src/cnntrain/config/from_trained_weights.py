"""Whether a run starts from trained weights, and what is left to them: size of images, mean and deviation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..preprocessing.settings import Pretrained
from ..runs import file_names
from ..settings.config_tree import Config
from ..settings.network_input import TrainedInput


def set_from_trained_weights(config: Config) -> Iterator[str]:
    """Set those that are null, so that a run stores them; yield an error where the weights do not tell them.

    Raises DataError where the checkpoint of the earlier run cannot be read.
    """
    data, preprocessing = config.data, config.preprocessing
    asks_for_size = getattr(data, "image_size", 0) is None
    asks_for_values = isinstance(preprocessing, Pretrained) and None in (
        preprocessing.mean,
        preprocessing.std,
    )
    if not (asks_for_size or asks_for_values):
        return
    source = config.initialization.source_run()
    trained: TrainedInput | None = (
        config.model.trained_input() if source is None else config.initialization.trained_input()
    )
    if asks_for_size:
        data.image_size = data.usual_image_size if trained is None else max(trained.size)
    if not asks_for_values:
        return
    if trained is not None:
        preprocessing.mean = trained.mean if preprocessing.mean is None else preprocessing.mean
        preprocessing.std = trained.std if preprocessing.std is None else preprocessing.std
    elif source is None:
        yield (
            "preprocessing=pretrained: there are no pretrained weights whose mean and deviation are known; "
            "write model.weights=default, preprocessing.mean and preprocessing.std, or "
            "preprocessing=standardize"
        )
    elif (Path(source) / file_names.CHECKPOINTS / file_names.BEST).is_file():
        yield (
            f"preprocessing=pretrained: initialization.run={source} scales pixels by no mean and deviation "
            "of each channel; write preprocessing=NAME as that run, or preprocessing=standardize"
        )


def has_trained_weights(config: Config) -> bool:
    """Return whether a network starts from trained weights, as far as is known: one of the user's own may."""
    has_weights = getattr(config.model, "weights", None) is not None
    return has_weights or config.model.name == "custom" or config.initialization.source_run() is not None
