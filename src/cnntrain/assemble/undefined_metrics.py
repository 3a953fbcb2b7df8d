"""Metrics that the labels of a validation split leave undefined, whatever is predicted."""

from __future__ import annotations

from torch import Tensor


def undefined(metric: str, labels: Tensor) -> str | None:
    """Return why a metric is undefined of these labels, None if it is not.

    labels: classes int64 (N,), two for average precision, or attributes or values (N, V).
    """
    if metric == "average_precision" and not labels.any():
        return "no validation image is of the second class, or has an attribute"
    if metric in ("auroc", "r2") and not (labels != labels[:1]).any():
        return "all validation images have the same labels"
    return None
