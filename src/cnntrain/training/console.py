"""Console output of training: a progress bar for each epoch, and a line after it."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from ..logger.sink import Row
from ..metrics import format_metric
from .progress import Progress


def progress_bar(progress: Progress, steps_per_epoch: int, epochs: int) -> tqdm[Any]:
    """Return the progress bar of the current epoch, shown only if standard error is a terminal."""
    return tqdm(
        total=steps_per_epoch,
        initial=progress.step_in_epoch,
        desc=f"epoch {progress.epoch + 1}/{epochs}",
        unit="step",
        leave=False,
        disable=None,
    )


def show_on_bar(bar: tqdm[Any], row: Row, metric_name: str) -> None:
    """Show loss and primary metric of a step's record after the bar."""
    metric = format_metric(metric_name, row[f"train/{metric_name}"])
    bar.set_postfix_str(f"loss {row['train/loss']:.3f}, {metric}", refresh=False)


def print_epoch(row: Row, metric_name: str, epochs: int, is_best: bool) -> None:
    """Print the line of an epoch's record; a star marks the best epoch so far."""
    parts = []
    for prefix in ("train", "val", "val_average"):
        names = [name for name in ("loss", metric_name) if f"{prefix}/{name}" in row]
        values = [format_metric(name, row[f"{prefix}/{name}"]) for name in names]
        if prefix == "train" and row["train/loss"] != row["train/data_loss"]:
            values[0] += f" (data loss {row['train/data_loss']:.4f})"
        if values:
            parts.append(f"{prefix.replace('val_', '')} {', '.join(values)}")
    tqdm.write(f"epoch {row['epoch']:>3}/{epochs}   {'   '.join(parts)}{' *' if is_best else ''}")
