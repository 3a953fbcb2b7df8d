"""What is measured over a split, against scikit-learn (D7)."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics as theirs

from cnntrain.loss.attributes import AttributeLogistic
from cnntrain.metrics import AttributeMetrics, ClassMetrics, Metrics, ValueMetrics


def measured(metrics: Metrics, predictions: torch.Tensor, labels: torch.Tensor) -> Metrics:
    for part, part_labels in zip(predictions.split(7), labels.split(7), strict=True):
        metrics.add(part, part_labels)
    return metrics


def test_class_metrics_are_scikit_learns() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(50, 8), torch.randint(7, (50,))
    result = measured(ClassMetrics([str(i) for i in range(8)]), scores, labels).result()
    predicted = scores.argmax(1)
    assert result.values["accuracy"] == pytest.approx(theirs.accuracy_score(labels, predicted))
    expected = theirs.top_k_accuracy_score(labels, scores, k=5, labels=range(8))
    assert result.values["top5_accuracy"] == pytest.approx(expected)
    assert result.error == pytest.approx(1 - result.values["accuracy"])
    confusion = theirs.confusion_matrix(labels, predicted, labels=range(8))
    assert result.details["confusion"] == confusion.tolist()
    recalls = theirs.recall_score(labels, predicted, labels=range(7), average=None, zero_division=0)
    per_class = list(result.details["per_class_accuracy"].values())
    assert per_class[:7] == pytest.approx(recalls.tolist())
    assert per_class[7] is None  # no image of it


def test_few_classes_have_no_top_5() -> None:
    result = measured(ClassMetrics(["a", "b"]), torch.eye(2), torch.tensor([0, 1])).result()
    assert result.values == {"accuracy": 1.0}


def test_attribute_metrics_are_scikit_learns() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(40, 3), (torch.rand(40, 3) < 0.3).float()
    labels[:, 2] = 0
    result = measured(AttributeMetrics(["a", "b", "never"]), scores, labels).result()
    for column, name in enumerate("ab"):
        found = result.details["per_attribute"][name]
        assert found["accuracy"] == pytest.approx(
            theirs.accuracy_score(labels[:, column], scores[:, column] > 0)
        )
        expected = theirs.average_precision_score(labels[:, column].numpy(), scores[:, column].numpy())
        assert found["average_precision"] == pytest.approx(expected)
    assert result.details["per_attribute"]["never"]["average_precision"] is None
    assert result.values["accuracy"] == pytest.approx(((scores > 0) == (labels > 0)).double().mean().item())


def test_value_metrics_are_scikit_learns() -> None:
    torch.manual_seed(0)
    labels = torch.randn(30, 2) * torch.tensor([1.0, 50.0]) + 1000
    predictions = labels + torch.randn(30, 2)
    result = measured(ValueMetrics(["x", "y"]), predictions, labels).result()
    assert result.values["mean_absolute_error"] == pytest.approx(
        theirs.mean_absolute_error(labels.numpy(), predictions.numpy())
    )
    assert result.values["r2"] == pytest.approx(
        theirs.r2_score(labels.numpy(), predictions.numpy()), rel=1e-5
    )
    assert result.error == result.values["mean_absolute_error"]
    each = theirs.r2_score(labels.numpy(), predictions.numpy(), multioutput="raw_values")
    assert [entry["r2"] for entry in result.details["per_value"].values()] == pytest.approx(
        each.tolist(), rel=1e-5
    )


def test_confident_scores_of_several_views_keep_their_order() -> None:
    loss = AttributeLogistic(["a"], None)
    low, high = torch.tensor([[18.0], [-200.0]]), torch.tensor([[20.0], [200.0]])
    sure, torn = loss.combine([low, high])[:, 0].tolist()
    assert math.isfinite(sure)
    assert sure > 15
    assert torn == pytest.approx(0.0, abs=1e-6)
    metrics = loss.metrics()
    metrics.add(torch.tensor([[float("nan")], [1.0]]), torch.tensor([[1.0], [0.0]]))
    assert metrics.result().details["per_attribute"]["a"]["average_precision"] is None
