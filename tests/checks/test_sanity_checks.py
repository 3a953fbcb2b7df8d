"""Checks of inputs, units and initial loss: each planted problem is found, sound runs pass."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cnntrain.assemble.run import build_parts
from cnntrain.checks.initial_loss import check_initial_loss, check_regularization_loss, expected_initial_loss
from cnntrain.checks.inputs import check_batch_normalization, check_inputs, check_units
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.loss import settings
from cnntrain.loss.settings import Loss

# --- initial loss and penalties

CLASSES = [str(number) for number in range(10)]
CLASS_LABELS = torch.arange(40) % 10
ATTRIBUTES = (torch.arange(40)[:, None] % torch.tensor([2, 3, 5]) == 0).float()
VALUES = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1


@pytest.mark.parametrize(
    ("loss", "labels", "value"),
    [
        (settings.Softmax(), CLASS_LABELS, 2.3026),
        (settings.Softmax(balanced=True), CLASS_LABELS, math.log(10)),
        (settings.Svm(delta=2.0), CLASS_LABELS, 9 * 2.0),
        (settings.SquaredSvm(delta=2.0), CLASS_LABELS, 9 * 4.0),
        (settings.HierarchicalSoftmax(branching=10), CLASS_LABELS, math.log(10)),
        (settings.HierarchicalSoftmax(), CLASS_LABELS % 8, None),
        (settings.OneHotError(reduction="sum"), CLASS_LABELS, 1.0),
        (settings.OneHotError(), CLASS_LABELS, 0.1),
        (settings.OneHotError(reduction="half_sum"), CLASS_LABELS, 0.5),
        (settings.AttributeHinge(delta=0.5), ATTRIBUTES, 3 * 0.5),
        (settings.AttributeLogistic(), ATTRIBUTES, 3 * math.log(2)),
        (settings.AttributeLogistic(balanced=True), ATTRIBUTES, None),
        (settings.L2(), VALUES, 1.0),
        (settings.L2(standardize=False, reduction="sum"), VALUES, None),
        (settings.L2(reduction="half_sum"), VALUES, 1.0),
        (settings.L1(), VALUES, None),
        (settings.L1(reduction="sum"), VALUES, None),
        (settings.SmoothL1(), VALUES, None),
        (settings.SmoothL1(beta=0.2, reduction="sum"), VALUES, None),
        (settings.SmoothL1(beta=5.0, standardize=False), VALUES, None),
        (settings.RejectingSoftmax(rejection=2.0), CLASS_LABELS, math.log(10 + math.exp(-2))),
        (settings.Bins(bins=7), VALUES, 2 * math.log(7)),
    ],
    ids=lambda value: value.name if isinstance(value, Loss) else "",
)
def test_the_initial_loss_is_that_of_scores_that_are_all_zero(
    loss: Loss, labels: Tensor, value: float | None
) -> None:
    names = CLASSES if labels.ndim == 1 else [str(number) for number in range(labels.shape[1])]
    statistics = loss.label_statistics(names, labels)
    expected = loss.initial_loss(names, statistics, labels)
    assert expected is not None
    criterion = loss.build(names, statistics, 0.0).eval()
    if not isinstance(loss, settings.HierarchicalSoftmax):
        assert criterion(torch.zeros(len(labels), criterion.outputs), labels).item() == pytest.approx(
            expected[0], rel=1e-5
        )
    if value is not None:
        assert expected[0] == pytest.approx(value, rel=1e-4)


def test_the_initial_loss_of_distances_is_that_of_features_that_are_zero() -> None:
    """LeNet-5 as published, whose F6 is near 0 with small weights, so that all codes are equally far."""
    choices = ["model=lenet5_original", "loss=rejecting_softmax", "data.limit=100", "trainer.threads=1"]
    config = configure([*choices, "initialization=gaussian", "initialization.std=1e-6"], Choices()).config
    parts = build_parts(config, None, Path(), "")
    expected = expected_initial_loss(config, parts.splits)
    assert expected is not None
    images = parts.step.preprocess(torch.cat(list(parts.splits.train.chunks(100))))
    with torch.no_grad():
        loss = parts.step.criterion(parts.step.network(images), parts.splits.train.labels)
    assert loss.item() == pytest.approx(expected[0], rel=1e-4)
    other = configure(["model=lenet5_original", "loss=one_hot_error"], Choices()).config
    assert expected_initial_loss(other, parts.splits) is None


def test_the_initial_loss_of_a_tree_is_the_sum_of_its_decisions() -> None:
    # Two groups of two and of three classes: ln 2 for the group, then ln 2 or ln 3.
    from cnntrain.loss import class_tree
    from cnntrain.loss.hierarchical_softmax import tables_of

    tree = class_tree.balanced(["a", "b", "c", "d"], 2)
    labels = torch.tensor([0, 1, 2, 3])
    expected = settings.HierarchicalSoftmax().initial_loss(list("abcd"), tables_of(tree), labels)
    assert expected is not None
    assert expected[0] == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize(("loss", "passed"), [(2.3, True), (2.8, True), (4.0, False), (1.5, False)])
def test_a_first_loss_far_from_theory_fails(loss: float, passed: bool) -> None:
    assert check_initial_loss(loss, (math.log(10), "ln 10"), 0.5).passed is passed


def test_a_loss_without_a_theoretical_value_is_not_judged() -> None:
    assert check_initial_loss(80.0, None, 0.5).passed is None


@pytest.mark.parametrize(
    ("penalty", "gradient", "passed"),
    [(0.0, 0.0, None), (2.0, 0.1, True), (0.1, 2.0, False), (-0.1, 0.1, False), (float("nan"), 0.1, False)],
)
def test_a_penalty_raises_the_loss_and_does_not_determine_the_update(
    penalty: float, gradient: float, passed: bool | None
) -> None:
    assert check_regularization_loss(1.0, penalty, 1.0, gradient).passed is passed


# --- inputs, units, scores


def test_standardized_inputs_pass_and_others_are_named() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(32, 3, 4, 4)
    assert check_inputs(inputs).passed is True
    assert check_inputs(0.3 * inputs + 0.5).passed is True
    for wrong, part in (
        (60 * inputs + 120, "not scaled"),
        (inputs / 255, "not scaled"),
        (inputs * torch.tensor([1.0, 0.0, 1.0])[:, None, None], "channel 1 is the same"),
        (inputs / 0, "not all inputs are finite"),
    ):
        result = check_inputs(wrong)
        assert result.passed is False
        assert part in result.sentence


def test_batch_statistics_of_a_few_images_fail() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert check_batch_normalization(network, 16).passed is True
    assert check_batch_normalization(network, 4).passed is False
    assert check_batch_normalization(network[:1], 4).passed is None


def units(network: nn.Module) -> dict[str, bool | None]:
    torch.manual_seed(0)
    return {result.name: result.passed for result in check_units(network, torch.randn(64, 1, 6, 6))}


def test_on_a_few_images_units_may_be_dead_by_chance_unless_all_are() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 3))
    with torch.no_grad():
        network[1].bias[:28] = -100
    for images, passed in ((63, None), (64, False)):
        (dead, *_) = check_units(network, torch.randn(images, 1, 6, 6))
        assert dead.passed is passed
    with torch.no_grad():
        network[1].bias[:] = -100
    assert check_units(network, torch.randn(2, 1, 6, 6))[0].passed is False


def test_dead_and_saturated_units_and_constant_scores_are_found() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 16, 3)
    head = [nn.Flatten(), nn.Linear(16 * 16, 3)]
    network = nn.Sequential(convolution, nn.ReLU(), *head)
    assert units(network) == {"dead units": True, "saturated units": None, "scores": True}
    with torch.no_grad():
        convolution.bias[:9] = -100.0  # of 16, as it may happen by chance
    assert units(network) == {"dead units": True, "saturated units": None, "scores": True}
    with torch.no_grad():
        convolution.bias[:15] = -100.0
    assert units(network) == {"dead units": False, "saturated units": None, "scores": True}
    with torch.no_grad():
        convolution.bias[:] = -100.0
    assert units(network)["scores"] is False
    for activation in (nn.Tanh(), nn.Sigmoid()):
        network = nn.Sequential(nn.Conv2d(1, 16, 3), activation, *head)
        assert units(network) == {"dead units": None, "saturated units": True, "scores": True}
        with torch.no_grad():
            network[0].weight *= 100
        assert units(network)["saturated units"] is False
