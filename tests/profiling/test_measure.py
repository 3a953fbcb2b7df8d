"""Steps of training timed by a clock that only chosen parts advance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cnntrain.assemble.run import build_parts
from cnntrain.augmentation.transforms import Augment
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.instruments.instrument import CHECKPOINT, DATA, EVALUATE, FORWARD, LOSS, PREPROCESSING, UPDATE
from cnntrain.profiling.measure import (
    AUGMENTATION,
    DIVIDED,
    FIRST_BATCH,
    OUTSIDE,
    PLAIN,
    RECORDED,
    RECORDS,
    measure,
)
from cnntrain.profiling.profile_training import new_trainer


class Clock:
    """A clock that stands still unless it is told to go on."""

    now = 0.0

    def mark(self) -> float:
        return self.now

    def seconds(self, first: float, last: float) -> float:
        return last - first

    def go(self, seconds: float) -> None:
        self.now += seconds

    def slowed(self, function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        """Return a function that takes some seconds."""

        def slow(*arguments: Any, **named: Any) -> Any:
            self.go(seconds)
            return function(*arguments, **named)

        return slow


def test_each_part_has_the_seconds_that_it_takes(tmp_path: Path) -> None:
    settings = ["data.limit=100", "data.batch_size=20", "model=linear", "trainer.threads=1"]
    config = configure([*settings, "trainer.instruments=false"], Choices()).config
    parts, clock = build_parts(config, None, tmp_path, ""), Clock()
    trainer = new_trainer(config, parts, tmp_path)
    step, epoch = parts.step, parts.train.epoch

    def slow_epoch(*arguments: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in epoch(*arguments):
            clock.go(1 / 2)
            yield batch

    parts.train.epoch = slow_epoch  # type: ignore[method-assign]
    parts.train.augment = Augment([lambda images, rng, key: clock.slowed(lambda: images, 1 / 4)()])
    ((name, layer),) = [one for one in step.network.named_modules() if isinstance(one[1], nn.Linear)]
    for module, seconds in ((step.preprocess, 2), (layer, 3), (step.criterion, 10)):
        module.register_forward_hook(lambda *_, seconds=seconds: clock.go(seconds))
    step.update.regularization.loss = clock.slowed(step.update.regularization.loss, 100)  # type: ignore[method-assign]
    trainer.record = clock.slowed(trainer.record, 5)  # type: ignore[method-assign]
    trainer.checkpoints.save_last = clock.slowed(trainer.checkpoints.save_last, 7)  # type: ignore[method-assign]

    measured = measure(trainer, 0.0, clock)
    trainer.recorder.close()
    assert measured.steps == {DIVIDED: 4, PLAIN: 3, RECORDED: 1}
    assert measured.evaluated == 20
    batch, rest = 1 / 2 + 1 / 4, 2 + 3 + 10 + 100
    assert {part: seconds for part, seconds in measured.seconds.items() if seconds} == {
        FIRST_BATCH: batch,
        OUTSIDE: 3 * rest + 2 * batch,  # the steps before the measured ones, the first with the first batch
        DATA: 4 / 2,
        AUGMENTATION: 4 / 4,
        PREPROCESSING: 4 * 2,
        (FORWARD, name): 4 * 3,
        LOSS: 4 * 10,
        UPDATE: 4 * 100,
        PLAIN: 3 * (batch + rest),
        RECORDED: batch + rest + 5,
        EVALUATE: 2 + 3 + 10,
        CHECKPOINT: 7,
    }
    assert sum(measured.seconds.values()) == clock.now
    assert RECORDS in measured.seconds
