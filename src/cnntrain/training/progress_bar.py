"""The progress bar of an epoch."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from ..metrics import format_metric
from ..output_streams import is_quiet
from ..runs.metrics_file import Row
from ..runs.run_progress import Progress


def progress_bar(progress: Progress, steps_per_epoch: int, epochs: float) -> tqdm[Any]:
    """Return the progress bar of the current epoch, shown only if standard error is a terminal.

    None is shown inside `quiet_output`.
    """
    return tqdm(
        total=steps_per_epoch,
        initial=progress.step_in_epoch,
        desc=f"epoch {min(progress.epoch + 1, epochs)}/{epochs}",
        unit="step",
        leave=False,
        disable=True if is_quiet() else None,
    )


def show_on_bar(bar: tqdm[Any], row: Row, metric_name: str) -> None:
    """Show loss and primary metric of a step's record after the bar."""
    metric = format_metric(metric_name, row[f"train/{metric_name}"])
    bar.set_postfix_str(f"loss {row['train/loss']:.3f}, {metric}", refresh=False)
