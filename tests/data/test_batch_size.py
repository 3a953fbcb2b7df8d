"""data.batch_size=auto: as many images as leave an epoch enough updates."""

from __future__ import annotations

import pytest

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.resolve_batch_size import with_batch_size
from cnntrain.data.batch_size import automatic_batch_size


@pytest.mark.parametrize(
    ("images", "steps", "size"),
    [
        (None, 1, 128),
        (50_000, 1, 128),
        (1536, 1, 128),  # 12 updates
        (1535, 1, 64),
        (768, 1, 64),
        (767, 1, 32),
        (384, 1, 32),
        (383, 1, 16),
        (128, 1, 16),  # 8 updates
        (127, 1, 8),
        (1, 1, 8),
        (1536, 4, 32),  # of four batches each
    ],
)
def test_an_epoch_has_twelve_updates_of_few_images_eight(images: int | None, steps: int, size: int) -> None:
    assert automatic_batch_size(images, steps) == size


def test_a_number_stands_and_the_size_that_a_checkpoint_knows_too() -> None:
    config = configure(["data.batch_size=100"], Choices()).config
    assert with_batch_size(config, 10, stored=7).data.batch_size == 100
    config = configure([], Choices()).config
    assert config.data.batch_size == "auto"
    assert with_batch_size(config, 10, stored=7).data.batch_size == 7


def test_an_optimizer_of_whole_batches_has_all_images() -> None:
    config = configure(["optim=lbfgs", "trainer.accumulate_steps=3"], Choices()).config
    assert with_batch_size(config, 1000).data.batch_size == 334
    some = configure(["optim=lbfgs", "optim.mini_batches=true"], Choices()).config
    assert with_batch_size(some, 1000).data.batch_size == 64
