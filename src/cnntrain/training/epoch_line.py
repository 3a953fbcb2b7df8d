"""The line printed after each epoch."""

from __future__ import annotations

from tqdm import tqdm

from ..metrics import DISPLAY, format_metric, format_number
from ..runs.metrics_file import Row


def print_epoch(row: Row, metric_name: str, best_by: str, epochs: float, is_best: bool) -> None:
    """Print the line of an epoch's record; a star marks the best epoch so far.

    metric_name: the primary metric. best_by: that by which the best epoch is chosen; if it is another one, it
    is printed, too, and the star says so.
    """
    parts = []
    shown = dict.fromkeys(("loss", metric_name, best_by))
    for prefix in ("train", "val", "val_average"):
        names = [name for name in shown if f"{prefix}/{name}" in row]
        values = [format_metric(name, row[f"{prefix}/{name}"]) for name in names]
        if prefix == "train" and row["train/loss"] != row["train/data_loss"]:
            values[0] += f" (data loss {format_number(row['train/data_loss'])})"
        if values:
            parts.append(f"{prefix.replace('val_', '')} {', '.join(values)}")
    mark = " *" if best_by == metric_name else f" * by {DISPLAY[best_by][0]}"
    epoch = f"{min(row['epoch'], epochs):>3}/{epochs}"
    tqdm.write(f"epoch {epoch}   {'   '.join(parts)}{mark if is_best else ''}")
