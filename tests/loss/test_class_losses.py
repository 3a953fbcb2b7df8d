"""Losses for classes against the notes' worked examples, torch and closed forms (C1, C2, C5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from cnntrain.errors import ConfigError
from cnntrain.loss.criterion import Criterion
from cnntrain.loss.settings import Loss, OneHotError, RejectingSoftmax, Softmax, SquaredSvm, Svm


def build(
    option: Loss, classes: int, label_smoothing: float = 0.0, labels: torch.Tensor | None = None
) -> Criterion:
    names = [str(label) for label in range(classes)]
    statistics = option.label_statistics(names, torch.arange(classes) if labels is None else labels)
    return option.build(names, statistics, label_smoothing)


@pytest.mark.parametrize(
    ("scores", "delta", "expected"),
    [
        ([13.0, -7.0, 11.0], 10, 8),
        ([10.0, -2.0, 3.0], 1, 0),
        ([10.0, 9.0, 9.0], 1, 0),
        ([10.0, -100.0, -100.0], 1, 0),
    ],
)
def test_svm_loss_equals_the_worked_examples(scores: list[float], delta: float, expected: float) -> None:
    loss = build(Svm(delta=delta), 3)
    assert loss(torch.tensor([scores]), torch.tensor([0])).item() == pytest.approx(expected)


def test_softmax_loss_differs_where_the_svm_loss_does_not() -> None:
    loss = build(Softmax(), 10)
    label = torch.tensor([0])
    assert loss(torch.tensor([[10.0, 9.0, 9.0]]), label).item() == pytest.approx(0.5514, abs=1e-4)
    assert loss(torch.tensor([[10.0, -100.0, -100.0]]), label).item() == pytest.approx(0.0, abs=1e-6)
    assert loss(torch.zeros(4, 10), torch.arange(4)).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize(("option", "power"), [(Svm, 1), (SquaredSvm, 2)])
def test_svm_loss_is_torchs_multi_margin_loss_times_the_number_of_classes(
    option: type[Svm], power: int
) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(64, 7, dtype=torch.double), torch.randint(7, (64,))
    expected = F.multi_margin_loss(scores, labels, p=power, margin=0.7) * 7
    assert build(option(delta=0.7), 7)(scores, labels).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("option", [Svm, SquaredSvm])
def test_svm_gradient_equals_torch(option: type[Svm]) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(16, 5).requires_grad_(), torch.randint(5, (16,))
    power = 2 if option is SquaredSvm else 1
    (ours,) = torch.autograd.grad(build(option(), 5)(scores, labels), scores)
    (theirs,) = torch.autograd.grad(F.multi_margin_loss(scores, labels, p=power) * 5, scores)
    torch.testing.assert_close(ours, theirs)


def test_label_smoothing_equals_cross_entropy_with_smoothed_targets() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(8, 4), torch.randint(4, (8,))
    targets = 0.8 * F.one_hot(labels, 4) + 0.2 / 4
    expected = -(targets * scores.log_softmax(1)).sum(1).mean()
    assert build(Softmax(), 4, 0.2)(scores, labels).item() == pytest.approx(expected.item(), rel=1e-6)


def test_class_weights_equal_torch() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(8, 3), torch.randint(3, (8,))
    weights = [0.5, 2.0, 1.0]
    ours = build(Softmax(class_weights=weights), 3)(scores, labels)
    torch.testing.assert_close(ours, F.cross_entropy(scores, labels, torch.tensor(weights)))
    with pytest.raises(ConfigError, match="2 weights for 3 classes"):
        build(Softmax(class_weights=[1.0, 2.0]), 3)


def test_balanced_weights_equal_scikit_learn() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = build(Softmax(balanced=True), 3, labels=labels).weights
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize(("reduction", "factor"), [("mean", 1.0), ("sum", 4.0), ("half_sum", 2.0)])
def test_one_hot_error_equals_torchs_mse_with_one_hot_vectors(reduction: str, factor: float) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(6, 4), torch.randint(4, (6,))
    ours = build(OneHotError(reduction=reduction), 4)(scores, labels)
    torch.testing.assert_close(ours, factor * F.mse_loss(scores, F.one_hot(labels, 4).float()))


@pytest.mark.parametrize(
    "option", [Softmax(), Svm(), SquaredSvm(delta=0.3), OneHotError(), RejectingSoftmax(rejection=0.5)]
)
def test_gradients_equal_central_differences(option: Loss) -> None:
    torch.manual_seed(0)
    scores = torch.randn(5, 4, dtype=torch.double, requires_grad=True)
    loss, labels = build(option, 4), torch.tensor([0, 1, 2, 3, 1])
    assert torch.autograd.gradcheck(lambda inputs: loss(inputs, labels), scores)


def test_a_weighted_mean_over_a_split_does_not_depend_on_its_batches() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(20, 3), torch.randint(3, (20,))
    loss = build(Softmax(class_weights=[0.5, 4.0, 1.0]), 3)
    parts = list(zip(scores.split(7), labels.split(7), strict=True))
    total = sum(loss(part, part_labels) * loss.weight(part_labels) for part, part_labels in parts)
    weight = sum(loss.weight(part_labels) for _, part_labels in parts)
    torch.testing.assert_close(total / weight, loss(scores, labels))


def test_the_most_probable_class_has_the_largest_score_also_if_negative() -> None:
    scores = torch.tensor([[-0.3, -0.1, -0.2], [0.2, -1.0, 0.9]])
    probabilities = build(OneHotError(), 3).probabilities(scores)
    assert probabilities.argmax(1).tolist() == [1, 2]
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
