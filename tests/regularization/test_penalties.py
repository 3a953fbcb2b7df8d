"""Penalties, decay and max norm against autograd, torch's AdamW and renorm, and closed forms (R1–R7, C6)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.model.shared_layers import LocallyConnected2d, TableConvolution
from cnntrain.optim.optimizer_stages import Stage
from cnntrain.regularization.penalties import Strengths, WeightRegularization, unit_norms
from cnntrain.regularization.settings import Regularizers


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))


@pytest.mark.parametrize(
    ("settings", "penalty"),
    [
        (Regularizers(l2=0.3), lambda w: 0.5 * 0.3 * w.square().sum()),
        (Regularizers(l1=0.2), lambda w: 0.2 * w.abs().sum()),
        (
            Regularizers(elastic_l1=0.1, elastic_l2=0.4),
            lambda w: 0.1 * w.abs().sum() + 0.4 * w.square().sum(),
        ),
    ],
    ids=["l2", "l1", "elastic net"],
)
@pytest.mark.parametrize("biases", [False, True])
def test_loss_and_gradient_equal_autograd(settings: Regularizers, penalty: object, biases: bool) -> None:
    settings.biases = biases
    ours, theirs = network(), network()
    regularization = settings.build(ours)
    for weight in ours.parameters():
        weight.grad = torch.ones_like(weight)
    regularization.add_gradients()
    penalized = [weight for weight in theirs.parameters() if biases or weight.ndim > 1]
    expected = sum(penalty(weight) for weight in penalized)  # type: ignore[operator]
    assert float(regularization.loss()) == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        extra = other.grad if other.grad is not None else torch.zeros_like(other)
        torch.testing.assert_close(mine.grad, 1 + extra)


def test_decoupled_decay_with_adam_equals_torchs_adamw() -> None:
    ours, theirs = network(), network()
    regularization = Regularizers(weight_decay=0.1, biases=True).build(ours)
    adam = torch.optim.Adam(ours.parameters(), lr=0.01)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    for step in range(5):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.full_like(mine, 0.1 * step - 0.2)
            other.grad = torch.full_like(other, 0.1 * step - 0.2)
        regularization.decay(Stage(0, adam, 0.01, 0.0))
        adam.step()
        adamw.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_decay_is_skipped_when_the_device_skips_the_step() -> None:
    ours = network()
    before = [weight.clone() for weight in ours.parameters()]
    regularization = Regularizers(weight_decay=0.1).build(ours)
    stage = Stage(0, torch.optim.SGD(ours.parameters(), lr=0.5), 0.5, 0.0)
    regularization.decay(stage, torch.tensor(False))
    assert all(torch.equal(a, b) for a, b in zip(before, ours.parameters(), strict=True))
    regularization.decay(stage, torch.tensor(True))
    torch.testing.assert_close(ours[0].weight, before[0] * 0.95)
    assert torch.equal(ours[0].bias, before[1])


@pytest.mark.parametrize(("weight_decay", "factor"), [(None, 0.995), (0.0, 1.0), (0.2, 0.9)])
def test_the_optimizers_weight_decay_applies_unless_another_is_set(
    weight_decay: float | None, factor: float
) -> None:
    ours = network()
    before = ours[0].weight.clone()
    stage = Stage(0, torch.optim.SGD(ours.parameters(), lr=0.5), 0.5, 0.01)
    Regularizers(weight_decay=weight_decay).build(ours).decay(stage)
    torch.testing.assert_close(ours[0].weight, before * factor)


def test_decay_of_groups_with_different_learning_rates_equals_torchs_adamw() -> None:
    ours, theirs = network(), network()
    scales = (1.0, 5.0)

    def groups(net: nn.Sequential) -> list[list[torch.Tensor]]:
        return [list(net[:3].parameters()), list(net[3].parameters())]

    pairs = list(zip(groups(ours), scales, strict=True))
    regularization = Regularizers(weight_decay=0.1, biases=True).build(ours)
    adam = torch.optim.Adam([{"params": group, "lr": 0.01 * scale} for group, scale in pairs])
    adamw = torch.optim.AdamW(
        [{"params": group, "lr": 0.01 * scale} for group, scale in zip(groups(theirs), scales, strict=True)],
        weight_decay=0.1,
    )
    for step in range(5):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.full_like(mine, 0.1 * step - 0.2)
            other.grad = torch.full_like(other, 0.1 * step - 0.2)
        regularization.decay(Stage(0, adam, 0.01, 0.0))
        adam.step()
        adamw.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("channels_last", [False, True])
def test_max_norm_equals_torchs_renorm_of_each_units_weights(channels_last: bool) -> None:
    ours = network()
    if channels_last:
        ours.to(memory_format=torch.channels_last)
    before = [weight.detach().clone() for weight in ours.parameters()]
    Regularizers(max_norm=0.5).build(ours).project()
    for weight, old in zip(ours.parameters(), before, strict=True):
        torch.testing.assert_close(weight, old if weight.ndim == 1 else torch.renorm(old, 2, 0, 0.5))
    assert (unit_norms(ours[3]) <= 0.5 + 1e-6).all()


def test_max_norm_applies_to_each_unit_of_locally_connected_and_table_layers() -> None:
    torch.manual_seed(0)
    local, table = LocallyConnected2d(2, 3, 3, (5, 5)), TableConvolution(3, [[0, 1], [2]], 3)
    nn.init.normal_(local.weight)
    nn.init.normal_(table.weight)
    norms = local.weight.detach().norm(dim=2), table.weight.detach().clone()
    Regularizers(max_norm=1.5).build(nn.Sequential(local, table)).project()
    torch.testing.assert_close(unit_norms(local), norms[0].clamp(max=1.5))
    first, second = norms[1][:2].norm(), norms[1][2].norm()
    torch.testing.assert_close(unit_norms(table), torch.stack([first, second]).clamp(max=1.5))


def test_settings_of_single_layers_override_the_general_ones() -> None:
    ours = network()
    first, last = ours[0].weight, ours[3].weight
    settings = Regularizers(l2=0.3, layers={"3": {"l2": 0, "l1": 0.2}, "0": {"max_norm": 0.1}})
    regularization = settings.build(ours)
    expected = 0.15 * first.square().sum() + 0.2 * last.abs().sum()
    assert float(regularization.loss()) == pytest.approx(expected.item(), rel=1e-5)
    before = last.detach().clone()
    regularization.project()
    assert (unit_norms(ours[0]) <= 0.1 + 1e-6).all()
    assert torch.equal(last, before)
    with pytest.raises(ConfigError, match="conv9 names no layer"):
        Regularizers(layers={"conv9": {"l2": 1}}).build(ours)


def test_without_strengths_nothing_changes_and_biases_are_included_only_on_request() -> None:
    ours = network()
    before = [weight.detach().clone() for weight in ours.parameters()]
    for weight in ours.parameters():
        weight.grad = torch.ones_like(weight)
    regularization = WeightRegularization(ours, Strengths())
    assert regularization.loss() == 0
    regularization.add_gradients()
    regularization.decay(Stage(0, torch.optim.SGD(ours.parameters(), lr=0.5), 0.5, 0.0))
    regularization.project()
    for weight, old in zip(ours.parameters(), before, strict=True):
        assert torch.equal(weight, old)
        assert weight.grad is not None
        assert (weight.grad == 1).all()
    matrices = before[0].square().sum() + before[4].square().sum()
    torch.testing.assert_close(WeightRegularization(ours, Strengths(elastic_l2=1.0)).loss(), matrices)


def test_weights_that_are_not_trained_are_neither_penalized_nor_changed() -> None:
    ours = network()
    first, *_, last, _ = ours.parameters()
    first.requires_grad_(False)
    old_first, old_last = first.clone(), last.detach().clone()
    regularization = Regularizers(l2=1.0, weight_decay=0.1, max_norm=0.3).build(ours)
    torch.testing.assert_close(regularization.loss(), 0.5 * old_last.square().sum())
    regularization.decay(Stage(0, torch.optim.SGD(ours.parameters(), lr=0.5), 0.5, 0.0))
    torch.testing.assert_close(last.detach(), 0.95 * old_last)
    regularization.project()
    torch.testing.assert_close(last.detach(), torch.renorm(0.95 * old_last, 2, 0, 0.3))
    assert torch.equal(first, old_first)


def test_a_weight_on_which_the_data_loss_does_not_depend_is_penalized_like_the_others() -> None:
    torch.manual_seed(0)
    used, unused = nn.Linear(3, 2), nn.Linear(4, 4)
    ours = nn.ModuleList([used, unused])
    inputs = torch.randn(5, 3)
    used(inputs).square().mean().backward()
    Regularizers(l2=0.3, l1=0.1).build(ours).add_gradients()
    loss = used(inputs).square().mean()
    for weight in (used.weight, unused.weight):
        loss = loss + 0.15 * weight.square().sum() + 0.1 * weight.abs().sum()
    expected = torch.autograd.grad(loss, [used.weight, unused.weight])
    torch.testing.assert_close(used.weight.grad, expected[0])
    torch.testing.assert_close(unused.weight.grad, expected[1])
    assert unused.bias.grad is None


def test_max_norm_leaves_a_tensor_of_the_network_itself_unchanged() -> None:
    class WithToken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.ones(1, 2, 3))
            self.head = nn.Linear(3, 4)
            nn.init.ones_(self.head.weight)

    ours = WithToken()
    Regularizers(max_norm=0.1).build(ours).project()
    assert torch.equal(ours.token, torch.ones(1, 2, 3))
    torch.testing.assert_close(unit_norms(ours.head), torch.full((4,), 0.1))


def test_a_layers_decay_may_be_off_or_the_optimizers_and_later_patterns_override_earlier_ones() -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    weights = [weight for weight in ours.parameters() if weight.ndim == 2]
    before = [weight.detach().clone() for weight in weights]
    layers = {"[012]": {"weight_decay": 0.4}, "1": {"weight_decay": 0}, "2": {"weight_decay": None}}
    stage = Stage(0, torch.optim.SGD(ours.parameters(), lr=0.5), 0.5, 0.02)
    Regularizers(weight_decay=0.2, layers=layers).build(ours).decay(stage)
    for weight, old, factor in zip(weights, before, (0.8, 1.0, 0.99, 0.9), strict=True):
        torch.testing.assert_close(weight.detach(), factor * old)


def test_l2_and_decay_agree_with_sgd_and_differ_with_adam() -> None:
    def trained_weight(optimizer: type[torch.optim.Optimizer], settings: Regularizers) -> torch.Tensor:
        ours = network()
        regularization = settings.build(ours)
        stage = Stage(0, optimizer(ours.parameters(), lr=0.1), 0.1, 0.0)  # type: ignore[call-arg]
        for _ in range(3):
            for weight in ours.parameters():
                weight.grad = torch.full_like(weight, 0.3)
            regularization.add_gradients()
            regularization.decay(stage)
            stage.optimizer.step()
        weight: torch.Tensor = ours[0].weight.detach()
        return weight

    penalty, decay = Regularizers(l2=0.1), Regularizers(weight_decay=0.1)
    torch.testing.assert_close(
        trained_weight(torch.optim.SGD, penalty), trained_weight(torch.optim.SGD, decay)
    )
    difference = (
        (trained_weight(torch.optim.Adam, penalty) - trained_weight(torch.optim.Adam, decay)).abs().max()
    )
    assert difference > 1e-3


def test_l1_brings_irrelevant_weights_to_nearly_0_and_l2_does_not() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(400, 12)
    # Only the first two of twelve inputs affect the targets; the others are irrelevant.
    targets = 2 * inputs[:, :1] - inputs[:, 1:2] + torch.randn(400, 1)
    lr = 0.02

    def irrelevant_weights(settings: Regularizers) -> torch.Tensor:
        torch.manual_seed(1)
        net = nn.Linear(12, 1)
        regularization = settings.build(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=lr)
        for _ in range(600):
            optimizer.zero_grad()
            (0.5 * (net(inputs) - targets).square().mean()).backward()
            regularization.add_gradients()
            optimizer.step()
        assert net.weight[0, 0] > 1.5  # a relevant weight stays large
        weights: torch.Tensor = net.weight[0, 2:].detach().abs()
        return weights

    # A weight at 0 is moved by at most lr·l1, and moved back by the next step.
    assert (irrelevant_weights(Regularizers(l1=0.2)) <= 2 * lr * 0.2).all()
    assert irrelevant_weights(Regularizers(l2=0.2)).max() > 4 * lr * 0.2
    both = irrelevant_weights(Regularizers(elastic_l1=0.2, elastic_l2=0.05))
    assert (both <= 2 * lr * 0.2).all()
