"""Metrics of classes over a split, against scikit-learn (D7)."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from cnntrain.loss.class_losses import MulticlassSvm, OneHotError, RejectingSoftmax, Softmax
from cnntrain.metrics import SELECTABLE, class_metrics, selectable
from cnntrain.metrics.accumulator import Metrics, Result
from cnntrain.metrics.class_metrics import ClassMetrics, RejectingMetrics

UNDEFINED = "ignore::sklearn.exceptions.UndefinedMetricWarning"
ABSENT = "ignore:y_pred contains classes not in y_true:UserWarning"


def of(metrics: Metrics, predictions: torch.Tensor, labels: torch.Tensor) -> Result:
    for part, part_labels in zip(predictions.split(7), labels.split(7), strict=True):
        metrics.add(part, part_labels)
    return metrics.result()


def names(count: int) -> list[str]:
    return [f"class {number}" for number in range(count)]


def cases() -> list[Any]:
    """Return (classes, scores, labels): equal, unequal, absent classes, constant predictions, ties."""
    found = []
    for seed, classes in enumerate([2, 2, 3, 6, 11]):
        rng = torch.Generator().manual_seed(seed)
        scores = torch.randn(60, classes, generator=rng, dtype=torch.float64)
        even = torch.randint(classes, (60,), generator=rng)
        unequal = torch.multinomial(2.0 ** -torch.arange(float(classes)), 60, True, generator=rng)
        first = torch.zeros(60, dtype=torch.int64)
        never = scores - 10 * (torch.arange(classes) == 0)
        found += [
            (f"{classes} equal classes", classes, scores, even),
            (f"{classes} unequal classes", classes, scores + 2 * torch.eye(classes)[unequal], unequal),
            (f"{classes} classes, one never predicted", classes, never, even),
            (f"{classes} classes, the last absent", classes, scores, even.clamp(max=max(1, classes - 2))),
            (f"{classes} classes, all predicted to be one", classes, torch.eye(classes)[first], even),
            (f"{classes} classes, all images of one", classes, scores, first),
            (f"{classes} classes, ties", classes, scores[torch.arange(60) % 12], even),
        ]
    return [pytest.param(*case, id=name) for name, *case in found]


@pytest.mark.filterwarnings(UNDEFINED, ABSENT)
@pytest.mark.parametrize(("classes", "scores", "labels"), cases())
def test_precision_recall_f1_and_their_averages_equal_scikit_learn(
    classes: int, scores: torch.Tensor, labels: torch.Tensor
) -> None:
    result = of(ClassMetrics(names(classes)), scores, labels)
    predicted = scores.argmax(1)
    assert result.values["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    expected = sklearn_metrics.balanced_accuracy_score(labels, predicted)
    assert result.values["balanced_accuracy"] == pytest.approx(expected)
    for average in ("macro", "weighted"):
        expected = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, average=average, zero_division=0
        )[:3]
        means = result.details["averages"][average]
        assert [means[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert result.values["macro_f1"] == pytest.approx(
        sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    )
    each = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), average=None, zero_division=np.nan
    )
    for column, name in enumerate(("precision", "recall", "f1", "support")):
        found = [entry[name] for entry in result.details["per_class"].values()]
        # Where a class has images but is never predicted, or the other way round, its F1 is 0, not undefined.
        expected = [None if math.isnan(value) else value for value in each[column].tolist()]
        assert found == pytest.approx(expected), name
    confusion = sklearn_metrics.confusion_matrix(labels, predicted, labels=range(classes))
    assert result.details["confusion"] == confusion.tolist()


@pytest.mark.filterwarnings(UNDEFINED)
@pytest.mark.parametrize(("classes", "scores", "labels"), cases())
def test_rankings_of_each_class_equal_scikit_learn(
    classes: int, scores: torch.Tensor, labels: torch.Tensor
) -> None:
    result = of(ClassMetrics(names(classes)), scores, labels)
    probabilities = scores.softmax(1).numpy()
    areas = []
    for number, entry in enumerate(result.details["per_class"].values()):
        own = (labels == number).numpy()
        if own.all() or not own.any():
            assert entry["auroc"] is None
        else:
            areas.append(sklearn_metrics.roc_auc_score(own, probabilities[:, number]))
            assert entry["auroc"] == pytest.approx(areas[-1])
        if own.any():
            expected = sklearn_metrics.average_precision_score(own, probabilities[:, number])
            assert entry["average_precision"] == pytest.approx(expected)
        else:
            assert entry["average_precision"] is None
    if len(labels.unique()) == classes:
        given = probabilities[:, 1] if classes == 2 else probabilities
        assert result.values["auroc"] == pytest.approx(
            sklearn_metrics.roc_auc_score(labels, given, multi_class="ovr", average="macro")
        )
    else:
        assert result.values["auroc"] == (pytest.approx(sum(areas) / len(areas)) if areas else None)
    if classes == 2:
        second = result.details["per_class"]["class 1"]["average_precision"]
        assert result.values["average_precision"] == second
    json.dumps([result.values, result.details], allow_nan=False)


def test_images_of_which_the_network_is_certain_are_still_ranked() -> None:
    scores = torch.tensor([[0.0, 40.0, 1.0], [0.0, 30.0, 1.0], [0.0, 35.0, 1.0], [20.0, 0.0, 1.0]])
    assert scores.softmax(1)[:3, 1].tolist() == [1.0, 1.0, 1.0]  # in float32, all the same
    per_class = of(ClassMetrics(names(3)), scores, torch.tensor([1, 2, 1, 0])).details["per_class"]
    assert per_class["class 1"]["auroc"] == 1.0


@pytest.mark.parametrize("classes", [1, 2, 5, 6, 20, 21])
def test_the_metrics_of_a_split_are_those_that_can_be_selected_by(classes: int) -> None:
    result = of(ClassMetrics(names(classes)), torch.eye(classes), torch.arange(classes))
    assert {"loss", *result.values} == set(selectable("classes", classes))
    assert set(selectable("classes", None)) == set(SELECTABLE) - {"mean_absolute_error", "r2"}


def test_top_5_accuracy_equals_scikit_learn() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(50, 8), torch.randint(7, (50,))
    result = of(ClassMetrics(names(8)), scores, labels)
    expected = sklearn_metrics.top_k_accuracy_score(labels, scores, k=5, labels=range(8))
    assert result.values["top5_accuracy"] == pytest.approx(expected)


def test_images_whose_scores_are_all_below_the_limit_are_rejected() -> None:
    scores = torch.tensor([[-2.0, -3.0], [-1.0, -3.0], [-0.5, 4.0], [-5.0, -1.5]] * 3)
    labels = torch.tensor([0, 0, 1, 0] * 3)
    result = of(RejectingMetrics(["a", "b"], 1.0), scores, labels)
    assert (result.values["accuracy"], result.values["rejected"]) == (0.75, 0.5)
    assert result.details["confusion"] == [[6, 3], [0, 3]]


def test_very_many_classes_have_no_confusion_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(100, 8), torch.randint(8, (100,))
    whole = of(ClassMetrics(names(8)), scores, labels)
    monkeypatch.setattr(class_metrics, "MAX_CONFUSION", 7)
    result = of(ClassMetrics(names(8)), scores, labels)
    assert "confusion" not in result.details
    assert result.values == whole.values
    assert result.details["per_class"] == whole.details["per_class"]


def test_scores_that_are_not_numbers_have_no_ranking() -> None:
    values = of(ClassMetrics(["a", "b"]), torch.tensor([[math.nan, 1], [1, 0]]), torch.tensor([0, 1])).values
    assert (values["auroc"], values["average_precision"]) == (None, None)


@pytest.mark.parametrize(
    "loss", [Softmax(names(3), None, 0.0), MulticlassSvm(names(3), 1.0, False), OneHotError(names(3), "sum")]
)
def test_views_combine_to_scores_whose_softmax_is_the_mean_of_the_probabilities(loss: Any) -> None:
    torch.manual_seed(0)
    views = [torch.randn(20, 3), 50 * torch.randn(20, 3), torch.randn(20, 3)]
    mean = torch.stack([loss.probabilities(view) for view in views]).mean(0)
    torch.testing.assert_close(loss.combine(views).softmax(1).float(), mean)


def test_combined_views_are_rejected_where_the_mean_probability_of_none_is_highest() -> None:
    torch.manual_seed(0)
    loss = RejectingSoftmax(names(3), 1.0)
    views = [torch.randn(50, 3) - 1, torch.randn(50, 3) - 1]
    mean = torch.stack([loss.probabilities(view) for view in views]).mean(0)
    combined = loss.combine(views)
    torch.testing.assert_close(loss.probabilities(combined).float(), mean)
    rejected = 1 - mean.sum(1) > mean.amax(1)
    assert 0 < rejected.sum() < 50
    values = of(loss.metrics(), combined, torch.zeros(50, dtype=torch.int64)).values
    assert values["rejected"] == rejected.double().mean().item()
