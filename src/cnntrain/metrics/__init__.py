"""Metrics over a split (D7); here, without torch, their names and how they are printed."""

from .names import (
    AUTO,
    DISPLAY,
    LOWER_IS_BETTER,
    MAX_RANKED_CLASSES,
    SELECTABLE,
    TOP,
    error_of,
    format_metric,
    format_number,
    printed,
    selectable,
    selection_order,
    value_of_error,
)

__all__ = [
    "AUTO",
    "DISPLAY",
    "LOWER_IS_BETTER",
    "MAX_RANKED_CLASSES",
    "SELECTABLE",
    "TOP",
    "error_of",
    "format_metric",
    "format_number",
    "printed",
    "selectable",
    "selection_order",
    "value_of_error",
]
