"""An evaluation as printed lines: the whole split, then each class, attribute or value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..metrics import format_metric, printed

# The confusion matrix is not printed with more classes than this.
MAX_PRINTED_CLASSES = 20
# Longer names are cut off at the head of a column.
MAX_COLUMN = 10
# The columns of classes and attributes: their heads, and whether they are counts in place of fractions.
COLUMNS = {
    "support": ("images", True),
    "accuracy": ("accuracy", False),
    "precision": ("precision", False),
    "recall": ("recall", False),
    "f1": ("F1", False),
    "auroc": ("AUROC", False),
    "average_precision": ("avg. prec.", False),
}
MISSING = "–"
Entries = Mapping[str, Mapping[str, float | None]]


def evaluation_lines(
    title: str,
    metrics: Mapping[str, float | None],
    details: Mapping[str, Any],
    names: list[str],
) -> list[str]:
    """Return the metrics of a split, then a line for each class, attribute or value of these names."""
    first = printed(list(metrics), best_by=None)
    values = {name: format_metric(name, value) for name, value in metrics.items()}
    rest = [text for name, text in values.items() if name not in first]
    lines = [", ".join([title, *(values[name] for name in first)])]
    lines += [", ".join(rest), ""] if rest else [""]
    if "per_value" in details:
        table = _value_table(details["per_value"])
    elif "per_attribute" in details:
        table = _table("attribute", details["per_attribute"], details["averages"])
    else:
        table = _table("class", details["per_class"], details["averages"])
        if "confusion" in details and len(names) <= MAX_PRINTED_CLASSES:
            table += ["", *_confusion_table(names, details["confusion"])]
    return [*lines, *table]


def _table(kind: str, entries: Entries, averages: Entries) -> list[str]:
    """Return a line for each class or attribute under the names of the columns, then one for each average."""
    keys = [key for key in COLUMNS if any(key in entry for entry in entries.values())]
    rows = [[kind, *(COLUMNS[key][0] for key in keys)]]
    rows += [[name, *(_cell(key, entry[key]) for key in keys)] for name, entry in entries.items()]
    rows += [
        [f"{name} average", *(_cell(key, entry[key]) if key in entry else "" for key in keys)]
        for name, entry in averages.items()
    ]
    return _aligned(rows)


def _confusion_table(names: list[str], confusion: list[list[int]]) -> list[str]:
    """Return a row for each true class, a column for each predicted one."""
    shortened = [name if len(name) <= MAX_COLUMN else f"{name[: MAX_COLUMN - 1]}…" for name in names]
    rows = [["predicted as", *shortened]]
    rows += [[name, *map(str, counts)] for name, counts in zip(names, confusion, strict=True)]
    return _aligned(rows)


def _value_table(entries: Entries) -> list[str]:
    width = max(len(name) for name in entries)
    return [
        f"  {name:<{width}}  " + ", ".join(format_metric(metric, value) for metric, value in metrics.items())
        for name, metrics in entries.items()
    ]


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return MISSING
    return str(value) if COLUMNS[key][1] else f"{value:.2%}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        columns = [f"{cell:>{max(width, 5)}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append(f"  {name:<{widths[0]}}  {' '.join(columns)}".rstrip())
    return lines
