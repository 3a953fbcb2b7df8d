"""Model selection: saves the checkpoint of the epoch that is best by one of the validation metrics.

Of epochs that are equal by it, the one of the lowest validation loss is the best, then the earliest.
"""

from __future__ import annotations

import math

from ..metrics import error_of
from ..runs.checkpoint import Checkpoints, State
from ..runs.run_progress import Progress
from .evaluate_split import Evaluation
from .validate_average import Averaged


def keep_best(
    progress: Progress,
    checkpoints: Checkpoints,
    trained_state: State,
    validation: Evaluation | None,
    averaged: Averaged | None,
    best_by: str,
) -> None:
    """Save an epoch's weights or average, whichever validates better, if it is the best so far.

    best_by: the metric that decides; where it is undefined, an epoch is worse than any other. Without a
    validation split, the weights of the newest epoch are saved: the average if there is one. `trained_state`
    holds the weights of the last step as "network".
    """
    candidates: list[tuple[Evaluation | None, str, State]] = []
    if averaged is not None:
        candidates.append((averaged.evaluation, "average", averaged.network))
    candidates.append((validation, "last_step", trained_state["network"]))
    evaluation, which, weights = min(candidates, key=lambda candidate: _order(candidate[0], best_by))
    if evaluation is not None:
        if progress.best_error is not None and evaluation.order(best_by) >= _order_so_far(progress):
            return
        progress.best_error, progress.best_values = evaluation.error(best_by), evaluation.row("val")
    progress.best_epoch, progress.best_weights = progress.epoch, which
    # With an average, both candidates are stored, for evaluate.weights.
    stored = {f"network_of_{name}": state for _, name, state in candidates if averaged is not None}
    checkpoints.save_best(trained_state | {"network": weights} | stored)


def _order(evaluation: Evaluation | None, best_by: str) -> tuple[float, float]:
    """Return what model selection minimizes, zeros without an evaluation."""
    return (0.0, 0.0) if evaluation is None else evaluation.order(best_by)


def _order_so_far(progress: Progress) -> tuple[float, float]:
    """Return the same of the best epoch so far; where its loss is not known, no equal epoch is better."""
    assert progress.best_error is not None
    return progress.best_error, error_of("loss", progress.best_values.get("val/loss", -math.inf))
