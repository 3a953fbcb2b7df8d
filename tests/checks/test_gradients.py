"""Planted errors in backward passes are found and named, correct ones pass (K1, K2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.assemble.run import build_parts
from cnntrain.checks.check_result import CheckResult
from cnntrain.checks.gradients import check_gradients
from cnntrain.checks.kinks import Pieces
from cnntrain.checks.numerical_gradient import backpropagated, compare_gradients
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.loss.class_losses import Softmax
from cnntrain.regularization.penalties import WeightRegularization
from cnntrain.regularization.settings import Regularizers

NAMES = [str(number) for number in range(10)]
INPUTS = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 5, 9])


def layer(forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
    """Return a layer with a backward pass of its own: (inputs, gradient of the output) → gradient."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: Tensor) -> Tensor:
            ctx.save_for_backward(inputs)
            return forward(inputs)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return backward(ctx.saved_tensors[0], gradient)

    class Layer(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return Function.apply(inputs)

    return Layer()


def network(middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        middle,
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def check(
    middle: nn.Module,
    criterion: nn.Module | None = None,
    regularization: Regularizers | None = None,
    seconds: float = 20,
) -> list[CheckResult]:
    criterion = criterion or Softmax(NAMES, None, 0.0)
    regularization = regularization or Regularizers()
    return check_gradients(network(middle), criterion, regularization, INPUTS, LABELS, seconds, burn_in=True)


def first_image_missing(inputs: Tensor, gradient: Tensor) -> Tensor:
    result = 2 * inputs * gradient
    return torch.cat([torch.zeros_like(result[:1]), result[1:]])


def first_row_only(inputs: Tensor, gradient: Tensor) -> Tensor:
    result = torch.zeros_like(inputs)
    result[:, :, 0] = (2 * inputs * gradient)[:, :, 0]
    return result


SQUARE: Callable[[Tensor], Tensor] = torch.square
PLANTED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "sign": (SQUARE, lambda x, g: -2 * x * g),
    "missing factor": (SQUARE, lambda x, g: x * g),
    "factor a thousandth too large": (SQUARE, lambda x, g: 2.002 * x * g),
    "window off by one": (lambda x: F.avg_pool2d(x, 1), lambda x, g: g.roll(1, -1)),
    "forgotten term": (lambda x: x * x.sigmoid(), lambda x, g: g * x.sigmoid()),
    "one row only": (SQUARE, first_row_only),
    "one image missing": (SQUARE, first_image_missing),
    "straight through": (lambda x: x.clamp(-0.5, 0.5), lambda x, g: g),
    "zero": (SQUARE, lambda x, g: torch.zeros_like(g)),
}


@pytest.mark.parametrize("error", PLANTED)
def test_a_wrong_backward_pass_is_found_and_named(error: str) -> None:
    result, _ = check(layer(*PLANTED[error]))
    assert result.passed is False
    assert result.details["wrong_modules"] == ["2"]
    assert "the backward pass of 2 is wrong" in result.sentence


@pytest.mark.parametrize(
    "middle",
    [
        layer(SQUARE, lambda x, g: 2 * x * g),
        layer(lambda x: x.clamp(-0.5, 0.5), lambda x, g: g * (x.abs() < 0.5)),
        nn.Sequential(nn.Tanh(), nn.Conv2d(4, 4, 3, padding=1, groups=2)),
        nn.LeakyReLU(0.2),
        nn.Dropout2d(0.5),
    ],
    ids=["square", "clamp", "nested", "leaky ReLU", "dropout"],
)
def test_a_correct_backward_pass_passes(middle: nn.Module) -> None:
    result, penalties = check(middle)
    assert result.passed is True
    assert penalties.passed is None
    tensors = {entry["tensor"]: entry for entry in result.details["tensors"]}
    assert set(tensors) == {name for name, _ in network(middle).named_parameters()}
    assert all(entry["compared"] >= 1 for entry in tensors.values())


@pytest.mark.parametrize("error", [None, *PLANTED])
def test_without_time_the_tensors_are_compared_together(error: str | None) -> None:
    middle = nn.Identity() if error is None else layer(*PLANTED[error])
    result, _ = check(middle, seconds=1e-9)
    assert len(result.details["tensors"]) == 1
    together = result.details["together"]
    assert together["compared"] == 1
    assert (together["error"] < 1e-5) if error is None else (together["error"] > 1e-4)
    assert result.passed is (error is None)


class InPlace(nn.Module):
    """Changes its input."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mul_(2)


class SinglePrecision(nn.Module):
    """Computes in float32 whatever its input."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.float()


def test_a_network_that_changes_its_input_passes_and_one_without_double_precision_is_left_out() -> None:
    criterion, none = Softmax(NAMES, None, 0.0), Regularizers()
    changing = nn.Sequential(InPlace(), network(nn.Identity()))
    result, _ = check_gradients(changing, criterion, none, INPUTS, LABELS, 20, burn_in=True)
    assert result.passed is True
    single = nn.Sequential(SinglePrecision(), network(nn.Identity()))
    result, _ = check_gradients(single, criterion, none, INPUTS, LABELS, 20, burn_in=True)
    assert result.passed is None
    assert "does not run in double precision" in result.sentence


class WrongLoss(Softmax):
    """Softmax cross-entropy whose gradient forgets the label's term."""

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        value = super().forward(scores, labels)
        surrogate = scores.logsumexp(1).mean()
        return surrogate + (value - surrogate).detach()


def test_a_wrong_loss_is_named() -> None:
    result, _ = check(nn.Identity(), WrongLoss(NAMES, None, 0.0))
    assert result.passed is False
    assert result.details["wrong_modules"] == ["the loss"]


def test_penalties_are_checked_apart_from_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Regularizers(l2=0.1, l1=0.01)
    data, penalties = check(nn.Identity(), regularization=settings)
    assert (data.passed, penalties.passed) == (True, True)
    right = WeightRegularization.add_gradients

    def twice(self: WeightRegularization) -> None:
        right(self)
        right(self)

    monkeypatch.setattr(WeightRegularization, "add_gradients", twice)
    data, penalties = check(nn.Identity(), regularization=settings)
    assert (data.passed, penalties.passed) == (True, False)


def test_the_network_and_its_gradients_are_not_changed() -> None:
    built = network(nn.Identity())
    before = {name: value.clone() for name, value in built.state_dict().items()}
    check_gradients(built, Softmax(NAMES, None, 0.0), Regularizers(l2=0.1), INPUTS, LABELS, 0.1, burn_in=True)
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert all(weight.grad is None for weight in built.parameters())


def test_a_kink_is_noticed_where_a_winner_changes() -> None:
    points = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    operations: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "abs": torch.abs,
        "clamp": lambda x: x.clamp(min=0),
        "max": lambda x: torch.stack([x, torch.zeros_like(x)]).max(0).values,
        "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
        "amax": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
        "max_pool": lambda x: F.max_pool2d(torch.stack([x, torch.zeros_like(x)])[None], (2, 1)),
        "hardtanh": lambda x: F.hardtanh(x, 0.0, 2.0),
        "threshold": lambda x: F.threshold(x, 0.0, 0.0),
        "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    }
    for name, operation in operations.items():
        records = []
        for shift in (0.0, 0.1, 0.9, 1.1):
            with torch.no_grad(), Pieces() as pieces:
                operation(points + shift)
            records.append(pieces)
        assert records[0].equals(records[1]), name
        assert records[0].equals(records[2]), name
        assert not records[0].equals(records[3]), name


def test_a_difference_across_a_kink_is_set_apart() -> None:
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    loss = lambda: weight.relu().sum()  # noqa: E731
    (error,) = compare_gradients(
        loss, {"weight": weight}, backpropagated(loss, {"weight": weight}), 4, torch.Generator()
    )
    assert (error.compared, error.kinks, error.error) == (0, 1, None)


@pytest.mark.parametrize(
    ("factor", "verdict", "passed"),
    [(1, "right", True), (1 + 1e-5, "acceptable", True), (1.001, "suspicious", False), (1.1, "wrong", False)],
)
def test_verdicts_follow_the_bands_of_the_relative_error(factor: float, verdict: str, passed: bool) -> None:
    result = check(layer(lambda x: 2 * x, lambda x, gradient: 2 * factor * gradient))[0]
    assert result.passed is passed
    assert {one["verdict"] for one in result.details["tensors"]} >= {verdict}
    assert f"({verdict})" in result.sentence


def test_each_tensor_is_compared_once_before_any_entry_and_those_left_are_named() -> None:
    weights = {f"w{number}": torch.ones(3, dtype=torch.float64, requires_grad=True) for number in range(6)}
    loss = lambda: sum(weight.square().sum() for weight in weights.values())  # noqa: E731
    gradients, rng = backpropagated(loss, weights), torch.Generator().manual_seed(0)
    over = 0.0  # seconds of time.perf_counter that have passed
    found = compare_gradients(loss, weights, gradients, 2, rng, until=over, until_each=math.inf)
    assert [one.tensor for one in found] == list(weights)
    assert [one.compared for one in found][1:] == [1] * 5
    assert found[0].compared > 1
    assert [one.tensor for one in compare_gradients(loss, weights, gradients, 2, rng, until=over)] == ["w0"]
    gradients["w4"] = 2 * gradients["w4"]  # found by the first comparison of it
    found = compare_gradients(loss, weights, gradients, 2, rng, until=over, until_each=math.inf)
    assert [one.tensor for one in found if one.is_wrong] == ["w4"]
    result = check(nn.Identity(), seconds=1e-9)[0]
    (one,) = result.details["tensors"]
    assert one["verdict"] == "right"
    assert len(result.details["only_together"]) == 7
    assert (
        f"only together, where an error above 0.1% of one shows: {result.details['only_together'][0]}, "
        in (result.sentence)
    )


@pytest.mark.parametrize(
    "overrides",
    [
        "model=lenet5_original loss=rejecting_softmax",
        "model=convnet model.activation=maxout model.channels=[4,8] loss=hierarchical_softmax",
        "model=mlp loss=one_hot_error",
        "data.target=attributes model=linear loss=attribute_hinge",
        "data.target=values model=linear loss=smooth_l1",
    ],
)
def test_networks_and_losses_pass(overrides: str, tmp_path: Any) -> None:
    config = configure(
        [*overrides.split(), "regularization=elastic_net", "trainer.threads=1"], Choices()
    ).config
    parts = build_parts(config, None, tmp_path, "")
    train = parts.splits.train.subset(torch.arange(4))
    inputs = parts.step.preprocess(next(train.chunks(4)))
    for result in check_gradients(
        parts.step.network,
        parts.step.criterion,
        config.regularization,
        inputs,
        train.labels,
        0.5,
        burn_in=True,
    ):
        assert result.passed is True, result.sentence
