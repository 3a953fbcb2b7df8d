"""When a job of a search is hopeless: neither its training nor its validation loss has fallen."""

from __future__ import annotations

import pytest

from cnntrain.errors import Stopped
from cnntrain.runs.run_progress import Progress
from cnntrain.training.stop_rule import StopRule


@pytest.mark.parametrize(
    ("epoch", "lowest", "val", "stops"),
    [
        (2, 2.3, 2.3, True),
        (2, 2.3, None, True),  # without validation
        (1, 2.3, 2.3, False),  # too early to tell
        (2, 2.0, 2.3, False),
        (2, 2.9, 1.5, False),  # augmented images at a high rate
    ],
)
def test_a_run_is_hopeless_once_no_loss_has_fallen(
    epoch: int, lowest: float, val: float | None, stops: bool
) -> None:
    values = {} if val is None else {"val/accuracy": 0.1, "val/loss": val}
    progress = Progress(epoch=epoch, first_loss=2.3, lowest_loss=lowest, best_values=values)
    if stops:
        with pytest.raises(Stopped, match=f"hopeless after epoch {epoch}"):
            StopRule(hopeless=True).check(progress, 6)
    else:
        StopRule(hopeless=True).check(progress, 6)
