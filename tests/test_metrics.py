"""Metrics over a split, against scikit-learn (D7)."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics as sklearn_metrics

from cnntrain import metrics as metrics_module
from cnntrain.loss.attribute_losses import AttributeLogistic
from cnntrain.metrics import (
    AttributeMetrics,
    ClassMetrics,
    Metrics,
    RejectingMetrics,
    ValueMetrics,
    average_precision,
    format_metric,
)


def add_in_batches(metrics: Metrics, predictions: torch.Tensor, labels: torch.Tensor) -> Metrics:
    for part, part_labels in zip(predictions.split(7), labels.split(7), strict=True):
        metrics.add(part, part_labels)
    return metrics


def test_class_metrics_equal_scikit_learn() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(50, 8), torch.randint(7, (50,))
    result = add_in_batches(ClassMetrics([str(i) for i in range(8)]), scores, labels).result()
    predicted = scores.argmax(1)
    assert result.values["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    expected = sklearn_metrics.top_k_accuracy_score(labels, scores, k=5, labels=range(8))
    assert result.values["top5_accuracy"] == pytest.approx(expected)
    assert result.error == pytest.approx(1 - result.values["accuracy"])
    confusion = sklearn_metrics.confusion_matrix(labels, predicted, labels=range(8))
    assert result.details["confusion"] == confusion.tolist()
    recalls = sklearn_metrics.recall_score(labels, predicted, labels=range(7), average=None, zero_division=0)
    per_class = list(result.details["per_class_accuracy"].values())
    assert per_class[:7] == pytest.approx(recalls.tolist())
    assert per_class[7] is None  # no image of this class


@pytest.mark.parametrize("classes", [2, 5, 6])
def test_top_5_accuracy_is_left_out_for_few_classes(classes: int) -> None:
    metrics = add_in_batches(
        ClassMetrics(list("abcdef"[:classes])), torch.eye(classes), torch.arange(classes)
    )
    top_5 = {"top5_accuracy": 1.0} if classes > 5 else {}
    assert metrics.result().values == {"accuracy": 1.0} | top_5


def test_images_whose_scores_are_all_below_the_limit_are_rejected() -> None:
    scores = torch.tensor([[-2.0, -3.0], [-1.0, -3.0], [-0.5, 4.0], [-5.0, -1.5]] * 3)
    labels = torch.tensor([0, 0, 1, 0] * 3)
    result = add_in_batches(RejectingMetrics(["a", "b"], 1.0), scores, labels).result()
    assert result.values == {"accuracy": 0.75, "rejected": 0.5}
    assert result.error == 0.25
    assert result.details["confusion"] == [[6, 3], [0, 3]]


def test_very_many_classes_have_no_confusion_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(100, 8), torch.randint(8, (100,))
    names = [str(number) for number in range(8)]
    whole = add_in_batches(ClassMetrics(names), scores, labels).result()
    monkeypatch.setattr(metrics_module, "MAX_CONFUSION", 7)
    result = add_in_batches(ClassMetrics(names), scores, labels).result()
    assert "confusion" not in result.details
    assert (result.values, result.error) == (whole.values, whole.error)
    assert result.details["per_class_accuracy"] == whole.details["per_class_accuracy"]


def test_attribute_metrics_equal_scikit_learn() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(40, 3), (torch.rand(40, 3) < 0.3).float()
    labels[:, 2] = 0
    result = add_in_batches(AttributeMetrics(["a", "b", "never"]), scores, labels).result()
    for column, name in enumerate("ab"):
        entry = result.details["per_attribute"][name]
        assert entry["accuracy"] == pytest.approx(
            sklearn_metrics.accuracy_score(labels[:, column], scores[:, column] > 0)
        )
        expected = sklearn_metrics.average_precision_score(
            labels[:, column].numpy(), scores[:, column].numpy()
        )
        assert entry["average_precision"] == pytest.approx(expected)
    assert result.details["per_attribute"]["never"]["average_precision"] is None
    assert result.values["accuracy"] == pytest.approx(((scores > 0) == (labels > 0)).double().mean().item())
    assert result.error == pytest.approx(1 - result.values["accuracy"])
    known = sklearn_metrics.average_precision_score(labels[:, :2].numpy(), scores[:, :2].numpy())
    assert result.values["average_precision"] == pytest.approx(known)


def test_a_score_of_0_means_absent_and_the_mean_is_left_out_where_no_attribute_is_known() -> None:
    metrics = add_in_batches(AttributeMetrics(["a"]), torch.tensor([[0.0], [-1.0]]), torch.zeros(2, 1))
    assert metrics.result().values == {"accuracy": 1.0}


def test_average_precision_of_equal_scores_equals_scikit_learn() -> None:
    torch.manual_seed(0)
    for count in (1, 2, 30, 30, 30):
        scores, labels = torch.randint(4, (count,)).double(), torch.randint(2, (count,)).double()
        labels[0] = 1
        expected = sklearn_metrics.average_precision_score(labels.numpy(), scores.numpy())
        assert average_precision(labels, scores) == pytest.approx(expected)


def test_value_metrics_equal_scikit_learn() -> None:
    torch.manual_seed(0)
    labels = torch.randn(30, 2) * torch.tensor([1.0, 50.0]) + 1000
    predictions = labels + torch.randn(30, 2)
    result = add_in_batches(ValueMetrics(["x", "y"]), predictions, labels).result()
    assert result.values["mean_absolute_error"] == pytest.approx(
        sklearn_metrics.mean_absolute_error(labels.numpy(), predictions.numpy())
    )
    assert result.values["r2"] == pytest.approx(
        sklearn_metrics.r2_score(labels.numpy(), predictions.numpy()), rel=1e-5
    )
    assert result.error == result.values["mean_absolute_error"]
    r2_per_value = sklearn_metrics.r2_score(labels.numpy(), predictions.numpy(), multioutput="raw_values")
    assert [entry["r2"] for entry in result.details["per_value"].values()] == pytest.approx(
        r2_per_value.tolist(), rel=1e-5
    )


def test_a_value_that_is_the_same_in_all_images_has_no_r2() -> None:
    labels, predictions = torch.tensor([[1.0, 3], [2, 3], [6, 3]]), torch.tensor([[1.0, 3], [3, 3], [5, 6]])
    result = add_in_batches(ValueMetrics(["x", "same"]), predictions, labels).result()
    r2 = sklearn_metrics.r2_score(labels[:, 0].numpy(), predictions[:, 0].numpy())
    assert result.values == {"mean_absolute_error": pytest.approx(5 / 6), "r2": pytest.approx(r2)}
    assert result.details["per_value"]["same"] == {"mean_absolute_error": 1.0, "r2": None}
    metrics = add_in_batches(ValueMetrics(["same"]), predictions[:, 1:], labels[:, 1:])
    assert metrics.result().values == {"mean_absolute_error": 1.0}


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("loss", "loss 0.1235"),
        ("accuracy", "accuracy 12.35%"),
        ("top5_accuracy", "top-5 12.35%"),
        ("rejected", "rejected 12.35%"),
        ("average_precision", "average precision 12.35%"),
        ("mean_absolute_error", "mean absolute error 0.1235"),
        ("r2", "R² 0.1235"),
    ],
)
def test_fractions_are_printed_in_percent_and_other_metrics_as_numbers(name: str, printed: str) -> None:
    assert format_metric(name, 0.12346) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.0, "0.0000"),
        (999999.5, "999999.5000"),
        (-999999.5, "-999999.5000"),
        (1e6, "1e+06"),
        (-1e6, "-1e+06"),
        (12345678.0, "1.235e+07"),
    ],
)
def test_numbers_from_a_million_on_are_printed_with_four_digits(value: float, printed: str) -> None:
    assert format_metric("loss", value) == f"loss {printed}"


def test_large_logits_of_views_combine_without_saturation_and_nan_has_no_average_precision() -> None:
    loss = AttributeLogistic(["a"], None)
    first, second = torch.tensor([[18.0], [-200.0]]), torch.tensor([[20.0], [200.0]])
    agreeing, opposed = loss.combine([first, second])[:, 0].tolist()
    assert math.isfinite(agreeing)
    assert agreeing > 15
    assert opposed == pytest.approx(0.0, abs=1e-6)
    metrics = loss.metrics()
    metrics.add(torch.tensor([[float("nan")], [1.0]]), torch.tensor([[1.0], [0.0]]))
    assert metrics.result().details["per_attribute"]["a"]["average_precision"] is None
