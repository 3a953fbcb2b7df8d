"""Muon: orthogonal updates for filters, another optimizer for the other weights (O6)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cnntrain.errors import ConfigError, DataError
from cnntrain.optim.muon import NewtonSchulz
from cnntrain.optim.settings import NEWTON_SCHULZ, AdamW, Muon, Nesterov, Sgd
from cnntrain.runs.optimizer_state import check_optimizer


def orthogonalized(matrix: Tensor, iterations: int) -> Tensor:
    return NewtonSchulz(iterations, *NEWTON_SCHULZ).orthogonalized(matrix)


@pytest.mark.parametrize("shape", [(16, 27), (64, 27), (32, 32)])
def test_singular_values_become_nearly_1_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    update = orthogonalized(matrix, 5)
    # The exact polar factor has singular values of 1; the iterations leave values between 0.7 and 1.2.
    in_basis = left.T @ update @ right.T
    values = in_basis.diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.25
    assert (in_basis - values.diag()).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(64, 9), (9, 64)])
def test_the_cost_is_that_of_products_of_the_shorter_side(shape: tuple[int, int]) -> None:
    with FlopCounterMode(display=False) as counter:
        orthogonalized(torch.randn(shape), 3)
    # An iteration: X·Xᵀ (9 x 64 x 9), its square (9 x 9 x 9), and their sum times X (9 x 9 x 64).
    assert counter.get_total_flops() == 3 * 2 * (9 * 64 * 9 + 9**3 + 9 * 9 * 64)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(4, 2))


def weights_of(net: nn.Module) -> list[Any]:
    return list(net.parameters())


def set_gradients(net: nn.Module, step: int) -> None:
    torch.manual_seed(step)
    for weight in net.parameters():
        weight.grad = torch.randn_like(weight)


def test_updates_of_filters_equal_the_formula() -> None:
    net = network()
    filters = net[0].weight
    optimizer = Muon(lr=0.1, momentum=0.9, nesterov=True).build(list(net.parameters()), False)
    expected, velocity = filters.detach().clone(), torch.zeros_like(filters)
    for step in range(3):
        set_gradients(net, step)
        velocity = 0.9 * velocity + filters.grad
        change = (filters.grad + 0.9 * velocity).flatten(1)
        # 8 filters of 27 weights: fewer rows than columns, so the factor is 1.
        expected -= 0.1 * orthogonalized(change, 5).view_as(expected)
        optimizer.step()
    torch.testing.assert_close(filters, expected)


@pytest.mark.parametrize(
    ("rest", "option"),
    [("adamw", AdamW(lr=0.003)), ("sgd", Sgd(lr=0.003)), ("nesterov", Nesterov(lr=0.003))],
)
def test_other_weights_use_the_optimizer_rest_at_its_own_learning_rate(
    rest: str, option: Sgd | AdamW
) -> None:
    ours, theirs = network(), network()
    optimizer = Muon(lr=0.1, rest=rest, rest_lr=0.003).build(list(ours.parameters()), False)
    others = [weight for weight in theirs.parameters() if weight.ndim != 4]
    reference = option.build(others, False)
    for step in range(3):
        # As `Update` sets learning rates: half by the schedule, times the group's scale.
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * group["lr_scale"]
        for group in reference.param_groups:
            group["lr"] = 0.0015
        set_gradients(ours, step)
        set_gradients(theirs, step)
        optimizer.step()
        reference.step()
    for mine, other in zip([w for w in ours.parameters() if w.ndim != 4], others, strict=True):
        torch.testing.assert_close(mine, other)


def test_training_resumes_exactly_from_the_state_dict() -> None:
    one, other = network(), network()
    first = Muon().build(list(one.parameters()), False)
    for step in range(2):
        set_gradients(one, step)
        first.step()
    other.load_state_dict(one.state_dict())
    second = Muon().build(list(other.parameters()), False)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for net, optimizer in ((one, first), (other, second)):
        set_gradients(net, 7)
        optimizer.step()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("scale", [1e6, 1e-3, 1e-9, 0.0])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
def test_the_size_of_a_gradient_has_no_influence_down_to_the_smallest(
    shape: tuple[int, int], scale: float
) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    update, scaled = orthogonalized(matrix, 5), orthogonalized(matrix * scale, 5)
    if scale == 0:
        assert (scaled == 0).all()
    elif scale < 1e-7:
        assert (scaled * matrix).sum() > 0  # smaller, but in the same direction
    else:
        torch.testing.assert_close(scaled, update, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("iterations", [2, 5])
@pytest.mark.parametrize("nesterov", [True, False])
def test_filters_take_the_steps_of_torchs_muon_for_their_matrices(nesterov: bool, iterations: int) -> None:
    """torch's Muon computes in bfloat16, whose precision is about 1 %."""
    torch.manual_seed(0)
    scales = {1.0: [(16, 2, 1, 1), (4, 3, 3, 3)], 3.0: [(9, 1, 3, 3)]}
    ours = {scale: [nn.Parameter(torch.zeros(shape)) for shape in shapes] for scale, shapes in scales.items()}
    theirs = {scale: [nn.Parameter(w.detach().flatten(1).clone()) for w in ws] for scale, ws in ours.items()}
    option = Muon(lr=0.2, momentum=0.8, nesterov=nesterov, iterations=iterations)
    optimizer = option.build([{"params": ws, "lr_scale": scale} for scale, ws in ours.items()], False)
    reference: Any = torch.optim.Muon(
        [{"params": weights, "lr": 0.1 * scale} for scale, weights in theirs.items()],
        weight_decay=0.0,
        momentum=0.8,
        nesterov=nesterov,
        ns_steps=iterations,
    )
    pairs = [pair for scale in scales for pair in zip(ours[scale], theirs[scale], strict=True)]
    for _ in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * group["lr_scale"]
        for mine, other in pairs:
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.flatten(1)
        optimizer.step()
        reference.step()
    for mine, other in pairs:
        assert (mine.flatten(1) - other).norm() < 0.05 * other.norm(), mine.shape


def test_a_network_without_convolutions_is_refused() -> None:
    for weights in (weights_of(nn.Linear(3, 2)), []):
        with pytest.raises(ConfigError, match="no convolutional layer; write optim=adamw"):
            Muon().build(weights, False)


@pytest.mark.parametrize("found_inf", [0.0, 1.0])
def test_a_skipped_step_changes_no_weight_and_no_state(found_inf: float) -> None:
    skipping, plain = network(), network()
    optimizers: list[Any] = [Muon().build(weights_of(net), fused=True) for net in (skipping, plain)]
    for step in range(3):
        for net, optimizer in zip((skipping, plain), optimizers, strict=True):
            set_gradients(net, step)
            if net is skipping:
                optimizer.found_inf = torch.tensor(found_inf if step == 1 else 0.0)
            elif step == 1 and found_inf:
                continue
            optimizer.step()
    for mine, other in zip(skipping.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_weights_without_a_gradient_stay() -> None:
    net = network()
    optimizer = Muon().build(weights_of(net), False)
    before = [weight.detach().clone() for weight in net.parameters()]
    set_gradients(net, 0)
    net[1].weight.grad = None
    optimizer.step()
    changed = [not torch.equal(w, old) for w, old in zip(net.parameters(), before, strict=True)]
    assert changed == [weight is not net[1].weight for weight in net.parameters()]


@pytest.mark.parametrize("bias", [True, False])
def test_a_stored_state_is_checked_part_by_part(bias: bool) -> None:
    """Without biases, all weights are filters and there is no other optimizer."""
    filters = nn.Conv2d(2, 3, 3, bias=bias)
    optimizer = Muon().build(weights_of(filters), False)
    set_gradients(filters, 0)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    check_optimizer(state, optimizer, "optimizer", "last.pt", True, None)
    optimizer.load_state_dict(state)
    for part in ("filters", "rest") if bias else ("filters",):
        damaged = state | {part: state[part] | {"param_groups": []}}
        with pytest.raises(DataError, match=rf"last\.pt: optimizer\.{part}\.param_groups must be a list"):
            check_optimizer(damaged, optimizer, "optimizer", "last.pt", True, None)


def test_filters_of_one_shape_are_updated_together_as_one_by_one() -> None:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(4, 3, 3, 3)) for _ in range(3)]
    alone = [nn.Parameter(weight.detach().clone()) for weight in weights]
    gradients = [torch.randn_like(weight) for weight in weights]
    optimizers = [Muon(lr=0.1).build([*weights], False)]
    optimizers += [Muon(lr=0.1).build([weight], False) for weight in alone]
    for weight, other, gradient in zip(weights, alone, gradients, strict=True):
        weight.grad, other.grad = gradient, gradient.clone()
    for optimizer in optimizers:
        optimizer.step()
    for weight, other in zip(weights, alone, strict=True):
        torch.testing.assert_close(weight, other)


def test_an_iteration_applies_its_polynomial_to_the_singular_values() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(5, 7, dtype=torch.float64).float()
    a, b, c = 2.0, -1.5, 0.5
    left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    for _ in range(2):
        values = a * values + b * values**3 + c * values**5
    update = NewtonSchulz(2, a, b, c).orthogonalized(matrix)
    torch.testing.assert_close(update, left * values @ right)


def test_weights_are_scaled_to_norm_root_filters_in_every_second_update() -> None:
    filters = nn.Conv2d(2, 9, 3, bias=False)
    optimizer = Muon(lr=1e-12, normalize_every=2, momentum=0.0).build(weights_of(filters), False)
    norms = []
    for step in range(4):
        with torch.no_grad():
            filters.weight.mul_(2 if step else 1)
        set_gradients(filters, step)
        optimizer.step()
        norms.append(float(filters.weight.detach().norm()))
    assert norms == pytest.approx([3, 6, 3, 6], rel=1e-5)
