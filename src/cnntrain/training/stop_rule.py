"""When a job of a search ends before its last epoch: after the epochs of a stage, or when it is hopeless."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import Stopped
from ..runs.run_progress import Progress

# A loss, in training and in validation, that is never so much below that of the first step, after so much of
# the run, is stuck. In training alone it may be that of augmented images and a high rate.
FALLEN, PART_OF_RUN, LEAST_EPOCHS = 0.97, 1 / 3, 2


@dataclass(frozen=True)
class StopRule:
    """When to train a run no further, asked before each epoch.

    epochs: after which it pauses, None for its last. hopeless: whether to end it when it is stuck.
    """

    epochs: int | None = None
    hopeless: bool = False

    def check(self, progress: Progress, last_epoch: float) -> None:
        """Raise Stopped if a run of `last_epoch` epochs is to be trained no further."""
        if self.epochs is not None and self.epochs <= progress.epoch < last_epoch:
            raise Stopped(f"paused after epoch {progress.epoch} of {last_epoch}", may_go_on=True)
        first, lowest = progress.first_loss, progress.lowest_loss
        enough = progress.epoch >= max(LEAST_EPOCHS, math.ceil(PART_OF_RUN * last_epoch))
        val = progress.best_values.get("val/loss")
        lowest = lowest if val is None or lowest is None else min(val, lowest)
        if self.hopeless and enough and first is not None and lowest is not None and lowest > FALLEN * first:
            raise Stopped(
                f"stopped as hopeless after epoch {progress.epoch}: the loss was {first:.4g} in the "
                f"first step and at best {lowest:.4g} in an epoch",
                may_go_on=False,
            )


# Of a run that is no job of a search.
NEVER = StopRule()
