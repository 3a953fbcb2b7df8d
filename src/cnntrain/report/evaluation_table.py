"""An evaluation as printed lines: the whole split, then each class, attribute or value."""

from __future__ import annotations

from ..metrics import format_metric, format_number
from ..training.evaluate_split import Evaluation

# The confusion matrix is not printed with more classes than this.
MAX_PRINTED_CLASSES = 20
# Longer names are cut off at the head of a column.
MAX_COLUMN = 10


def evaluation_lines(title: str, evaluation: Evaluation, names: list[str]) -> list[str]:
    """Return the metrics of a split, then a line for each class, attribute or value of these names."""
    values = [format_metric(name, value) for name, value in evaluation.metrics.items()]
    details = evaluation.details
    if "per_class_accuracy" in details:
        table = _class_table(names, details["per_class_accuracy"], details.get("confusion"))
    else:
        (table,) = [_table(entries) for entries in details.values()]
    return [f"{title}, {', '.join(values)}, loss {format_number(evaluation.loss)}", "", *table]


def _class_table(
    names: list[str], per_class: dict[str, float | None], confusion: list[list[int]] | None
) -> list[str]:
    """Return a line for each class: its accuracy, and its row of the confusion matrix if there are few."""
    lines = []
    width = max(len(name) for name in names)
    rows = confusion if confusion is not None and len(names) <= MAX_PRINTED_CLASSES else [[] for _ in names]
    shortened = [name if len(name) <= MAX_COLUMN else f"{name[: MAX_COLUMN - 1]}…" for name in names]
    columns = [max(5, len(name)) for name in shortened]
    if rows[0]:
        heads = " ".join(f"{name:>{column}}" for name, column in zip(shortened, columns, strict=True))
        lines.append(f"  {'class':<{width}}  accuracy  predicted as {heads}")
    for name, counts in zip(names, rows, strict=True):
        accuracy = per_class[name]
        percent = "       –" if accuracy is None else f"{accuracy:>8.2%}"
        row = " ".join(f"{count:>{column}}" for count, column in zip(counts, columns, strict=False))
        lines.append(f"  {name:<{width}}  {percent}               {row}".rstrip())
    return lines


def _table(entries: dict[str, dict[str, float | None]]) -> list[str]:
    """Return a line for each attribute or value."""
    width = max(len(name) for name in entries)
    return [
        f"  {name:<{width}}  "
        + ", ".join(
            "–" if value is None else format_metric(metric, value) for metric, value in metrics.items()
        )
        for name, metrics in entries.items()
    ]
