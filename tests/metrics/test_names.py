"""Names of metrics: which way is better, and how they are printed."""

from __future__ import annotations

import math

import pytest

from cnntrain.metrics import error_of, format_metric, printed, value_of_error


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("loss", "loss 0.1235"),
        ("accuracy", "accuracy 12.35%"),
        ("top5_accuracy", "top-5 12.35%"),
        ("balanced_accuracy", "balanced accuracy 12.35%"),
        ("macro_f1", "macro F1 12.35%"),
        ("auroc", "AUROC 12.35%"),
        ("rejected", "rejected 12.35%"),
        ("average_precision", "average precision 12.35%"),
        ("mean_absolute_error", "mean absolute error 0.1235"),
        ("r2", "R² 0.1235"),
    ],
)
def test_fractions_are_printed_in_percent_and_other_metrics_as_numbers(name: str, shown: str) -> None:
    assert format_metric(name, 0.12346) == shown
    assert format_metric(name, None) == f"{shown.rpartition(' ')[0]} –"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0000"),
        (999999.5, "999999.5000"),
        (-999999.5, "-999999.5000"),
        (1e6, "1e+06"),
        (-1e6, "-1e+06"),
        (12345678.0, "1.235e+07"),
    ],
)
def test_numbers_from_a_million_on_are_printed_with_four_digits(value: float, shown: str) -> None:
    assert format_metric("loss", value) == f"loss {shown}"


@pytest.mark.parametrize(
    ("name", "better", "worse"), [("loss", 0.1, 3.0), ("r2", 0.9, -2.0), ("auroc", 1, 0)]
)
def test_the_error_of_a_better_value_is_lower_and_an_undefined_one_has_the_highest(
    name: str, better: float, worse: float
) -> None:
    assert 0 <= error_of(name, better) < error_of(name, worse) < error_of(name, None)
    assert error_of(name, math.nan) == math.inf
    assert value_of_error(name, error_of(name, worse)) == worse


def test_lines_have_the_metrics_for_unequal_classes_only_where_they_were_chosen() -> None:
    names = ["accuracy", "top5_accuracy", "balanced_accuracy", "macro_f1", "auroc"]
    assert printed(names, "accuracy") == ["accuracy", "top5_accuracy"]
    assert printed(names, "auroc") == ["accuracy", "top5_accuracy", "auroc"]
