"""Metrics of attributes and values over a split, against scikit-learn (D7)."""

from __future__ import annotations

import json
import math

import pytest
import torch
from sklearn import metrics as sklearn_metrics

from cnntrain.loss.attribute_losses import AttributeLogistic
from cnntrain.metrics import selectable
from cnntrain.metrics.accumulator import Metrics, Result
from cnntrain.metrics.attribute_metrics import AttributeMetrics
from cnntrain.metrics.ranking import ranking
from cnntrain.metrics.value_metrics import ValueMetrics


def of(metrics: Metrics, predictions: torch.Tensor, labels: torch.Tensor) -> Result:
    for part, part_labels in zip(predictions.split(7), labels.split(7), strict=True):
        metrics.add(part, part_labels)
    return metrics.result()


@pytest.mark.parametrize("seed", range(5))
def test_attribute_metrics_equal_scikit_learn(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    scores, labels = torch.randn(40, 3, generator=rng), (torch.rand(40, 3, generator=rng) < 0.3).float()
    scores = scores.round() if seed % 2 else scores
    result = of(AttributeMetrics(["a", "b", "c"]), scores, labels)
    truth, predicted = labels.numpy(), (scores > 0).numpy()
    for column, name in enumerate("abc"):
        entry = result.details["per_attribute"][name]
        own = truth[:, column]
        assert entry["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(own, predicted[:, column]))
        expected = sklearn_metrics.precision_recall_fscore_support(
            own, predicted[:, column], average="binary"
        )[:3]
        assert [entry[key] for key in ("precision", "recall", "f1")] == pytest.approx(expected)
        assert entry["support"] == own.sum()
        given = scores[:, column].numpy()
        assert entry["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(own, given))
        expected = sklearn_metrics.average_precision_score(own, given)
        assert entry["average_precision"] == pytest.approx(expected)
    assert result.values == pytest.approx(
        {
            "accuracy": (truth == predicted).mean(),
            "macro_f1": sklearn_metrics.f1_score(truth, predicted, average="macro"),
            "auroc": sklearn_metrics.roc_auc_score(truth, scores.numpy()),
            "average_precision": sklearn_metrics.average_precision_score(truth, scores.numpy()),
        }
    )
    for average in ("macro", "weighted"):
        expected = sklearn_metrics.precision_recall_fscore_support(truth, predicted, average=average)[:3]
        means = result.details["averages"][average]
        assert [means[key] for key in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert {"loss", *result.values} == set(selectable("attributes", 3))


def test_an_attribute_of_all_images_or_of_none_is_left_out_of_the_means() -> None:
    scores = torch.tensor([[1.0, -1.0, -2.0], [-1.0, -3.0, 2.0], [2.0, -1.0, 1.0]])
    labels = torch.tensor([[1.0, 0, 1], [0.0, 0, 1], [1.0, 0, 1]])
    result = of(AttributeMetrics(["some", "never", "always"]), scores, labels)
    never = {"accuracy": 1.0, "precision": None, "recall": None, "f1": None, "support": 0}
    assert result.details["per_attribute"]["never"] == never | {"auroc": None, "average_precision": None}
    always = result.details["per_attribute"]["always"]
    assert (always["auroc"], always["average_precision"]) == (None, 1.0)
    assert result.values["macro_f1"] == pytest.approx((1 + 0.8) / 2)
    assert (result.values["auroc"], result.values["average_precision"]) == (1.0, 1.0)


def test_a_score_of_0_means_absent_and_what_no_attribute_has_is_undefined() -> None:
    result = of(AttributeMetrics(["a"]), torch.tensor([[0.0], [-1.0]]), torch.zeros(2, 1))
    undefined = dict.fromkeys(("macro_f1", "auroc", "average_precision"))
    assert result.values == {"accuracy": 1.0} | undefined
    assert result.details["averages"]["macro"] == {"precision": None, "recall": None, "f1": None}
    json.dumps([result.values, result.details], allow_nan=False)


def test_rankings_of_equal_scores_equal_scikit_learn() -> None:
    torch.manual_seed(0)
    for count in (1, 2, 30, 30, 30):
        scores, labels = torch.randint(4, (count,)).double(), torch.randint(2, (count,)).double()
        labels[0] = 1
        found = ranking(labels, scores)
        expected = sklearn_metrics.average_precision_score(labels.numpy(), scores.numpy())
        assert found.average_precision == pytest.approx(expected)
        if labels.all():
            assert found.auroc is None
        else:
            expected = sklearn_metrics.roc_auc_score(labels.numpy(), scores.numpy())
            assert found.auroc == pytest.approx(expected)


def test_value_metrics_equal_scikit_learn() -> None:
    torch.manual_seed(0)
    labels = torch.randn(30, 2) * torch.tensor([1.0, 50.0]) + 1000
    predictions = labels + torch.randn(30, 2)
    result = of(ValueMetrics(["x", "y"]), predictions, labels)
    assert result.values["mean_absolute_error"] == pytest.approx(
        sklearn_metrics.mean_absolute_error(labels.numpy(), predictions.numpy())
    )
    assert result.values["r2"] == pytest.approx(
        sklearn_metrics.r2_score(labels.numpy(), predictions.numpy()), rel=1e-5
    )
    r2_per_value = sklearn_metrics.r2_score(labels.numpy(), predictions.numpy(), multioutput="raw_values")
    assert [entry["r2"] for entry in result.details["per_value"].values()] == pytest.approx(
        r2_per_value.tolist(), rel=1e-5
    )
    assert {"loss", *result.values} == set(selectable("values", 2))


def test_a_value_that_is_the_same_in_all_images_has_no_r2() -> None:
    labels, predictions = torch.tensor([[1.0, 3], [2, 3], [6, 3]]), torch.tensor([[1.0, 3], [3, 3], [5, 6]])
    result = of(ValueMetrics(["x", "same"]), predictions, labels)
    r2 = sklearn_metrics.r2_score(labels[:, 0].numpy(), predictions[:, 0].numpy())
    assert result.values == {"mean_absolute_error": pytest.approx(5 / 6), "r2": pytest.approx(r2)}
    assert result.details["per_value"]["same"] == {"mean_absolute_error": 1.0, "r2": None}
    alone = of(ValueMetrics(["same"]), predictions[:, 1:], labels[:, 1:])
    assert alone.values == {"mean_absolute_error": 1.0, "r2": None}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_metrics_of_predictions_that_are_not_finite_are_undefined(bad: float) -> None:
    predictions, labels = torch.tensor([[bad, 1.0], [1.0, 2.0]]), torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    result = of(ValueMetrics(["x", "y"]), predictions, labels)
    assert result.values == {"mean_absolute_error": None, "r2": None}
    assert result.details["per_value"]["y"] == {"mean_absolute_error": 0.0, "r2": 1.0}
    json.dumps([result.values, result.details], allow_nan=False)


def test_large_logits_of_views_combine_without_saturation_and_nan_has_no_ranking() -> None:
    loss = AttributeLogistic(["a"], None)
    first, second = torch.tensor([[18.0], [-200.0]]), torch.tensor([[20.0], [200.0]])
    agreeing, opposed = loss.combine([first, second])[:, 0].tolist()
    assert math.isfinite(agreeing)
    assert agreeing > 15
    assert opposed == pytest.approx(0.0, abs=1e-6)
    metrics = loss.metrics()
    metrics.add(torch.tensor([[float("nan")], [1.0]]), torch.tensor([[1.0], [0.0]]))
    entry = metrics.result().details["per_attribute"]["a"]
    assert (entry["auroc"], entry["average_precision"]) == (None, None)
