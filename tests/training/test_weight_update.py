"""One update: changes of the weights, non-finite values, and measurements."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from cnntrain.errors import DataError
from cnntrain.instruments.instrument import Instruments
from cnntrain.instruments.update_ratio import UpdateRatio
from cnntrain.optim.optimizer_stages import OptimizerStages, Stage
from cnntrain.optim.settings import Adagrad, Muon, Nesterov, Optim, Sgd
from cnntrain.regularization.settings import Regularizers
from cnntrain.schedule.settings import Constant, Plateau
from cnntrain.training.nonfinite import MAX_SKIPPED_IN_A_ROW, NonFinite
from cnntrain.training.weight_update import Update

CPU = torch.device("cpu")


def make_update(max_grad_norm: float | None = None, fp16: bool = False, weight_decay: float = 0.0) -> Update:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.zeros_(network[0].bias)
    weights = list(network.parameters())
    return Update(
        network,
        OptimizerStages(
            Sgd(lr=0.1, momentum=0.9).stages(weights, not fp16, 10, 10),
            Constant(warmup_epochs=0).build(10, 10),
        ),
        Regularizers(weight_decay=weight_decay).build(network),
        max_grad_norm,
        CPU,
        fp16,
        Instruments([UpdateRatio(network)]),
    )


def set_gradients(update: Update, value: float) -> None:
    for weight in update.weights:
        weight.grad = torch.full_like(weight, value)


def backward_with(loss: float) -> Callable[[], torch.Tensor]:
    """Return a backward pass that returns `loss`; the gradients are set already."""
    return lambda: torch.tensor(loss)


def set_optimizer(update: Update, optimizer: torch.optim.Optimizer) -> None:
    update.optimizers = OptimizerStages([Stage(0, optimizer, 0.1, 0.0)], update.optimizers.schedule)


def test_clipping_equals_torchs_clip_grad_norm() -> None:
    update = make_update(max_grad_norm=0.5)
    theirs = [weight.detach().clone().requires_grad_() for weight in update.weights]
    optimizer = torch.optim.SGD(theirs, lr=0.1, momentum=0.9)
    for value in (3.0, 0.01, -2.0):
        set_gradients(update, value)
        for weight in theirs:
            weight.grad = torch.full_like(weight, value)
        expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        optimizer.step()
        assert update.apply(0, backward_with(1.0), recording=False).grad_norm.item() == pytest.approx(
            expected.item()
        )
    for mine, other in zip(update.weights, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    ("gradient", "loss"), [(float("nan"), 1.0), (float("inf"), 1.0), (0.1, float("nan"))]
)
def test_a_non_finite_loss_or_gradient_changes_nothing(gradient: float, loss: float) -> None:
    update = make_update(weight_decay=0.1)
    set_gradients(update, 0.2)
    update.apply(0, backward_with(1.0), recording=False)
    before = [weight.detach().clone() for weight in update.weights]
    state = copy.deepcopy(update.optimizers.stages[0].optimizer.state_dict())
    set_gradients(update, gradient)
    with pytest.raises(NonFinite) as caught:
        update.apply(7, backward_with(loss), recording=False)
    assert caught.value.step == 7
    for weight, old in zip(update.weights, before, strict=True):
        assert torch.equal(weight, old)
    for index, entry in update.optimizers.stages[0].optimizer.state_dict()["state"].items():
        assert torch.equal(entry["momentum_buffer"], state["state"][index]["momentum_buffer"])


@pytest.mark.parametrize(
    "option", [Sgd(), Muon(), Nesterov(final_momentum=0.99), Adagrad()], ids=lambda o: o.name
)
def test_non_finite_steps_are_skipped_on_the_device_and_the_first_is_reported(option: Optim) -> None:
    update = make_update(weight_decay=0.1)
    filters = [nn.Parameter(torch.randn(2, 2, 3, 3))] if option.name == "muon" else []
    update.weights += filters
    update.optimizers = OptimizerStages(
        option.stages(update.weights, True, 10, 10), update.optimizers.schedule
    )
    update.skipped.on_device = True  # as on CUDA
    set_gradients(update, 0.2)
    update.apply(0, backward_with(1.0), recording=False)
    update.skipped.check()
    before = [weight.detach().clone() for weight in update.weights]
    for step, value in ((1, float("nan")), (2, 0.2), (3, float("inf"))):
        set_gradients(update, value)
        update.apply(step, backward_with(2.5), recording=False)
    for weight, old in zip(update.weights, before, strict=True):
        assert torch.equal(weight, old)
    with pytest.raises(NonFinite) as caught:
        update.skipped.check()
    assert (caught.value.step, caught.value.loss) == (1, 2.5)


def test_fp16_counts_skipped_steps_and_stops_at_too_many_in_a_row() -> None:
    update = make_update(fp16=True)
    scale = update.scaler.get_scale()
    for step in range(MAX_SKIPPED_IN_A_ROW - 1):
        set_gradients(update, float("inf"))
        update.scaler.scale(torch.tensor(1.0))
        update.apply(step, backward_with(1.0), recording=False)
    update.skipped.check()
    assert update.skipped.total == MAX_SKIPPED_IN_A_ROW - 1
    assert update.scaler.get_scale() < scale
    set_gradients(update, 0.1)
    update.apply(100, backward_with(1.0), recording=False)
    for step in range(MAX_SKIPPED_IN_A_ROW):
        set_gradients(update, float("inf"))
        update.apply(200 + step, backward_with(1.0), recording=False)
    with pytest.raises(NonFinite) as caught:
        update.skipped.check()
    assert caught.value.step == 200


@pytest.mark.parametrize("name", ["Sgd", "Nesterov", "Adagrad", "RmsProp", "Adam", "AdamW"])
def test_update_ratio_is_the_norm_of_the_change_over_the_norm_before(name: str) -> None:
    from cnntrain.optim import settings as optim

    update = make_update(weight_decay=0.3)
    set_optimizer(update, getattr(optim, name)(lr=0.1).build(update.weights, fused=True))
    names = ("0.weight", "0.bias", "2.weight", "2.bias")
    for step in range(3):
        before = [weight.detach().clone() for weight in update.weights]
        set_gradients(update, 0.3)
        update.apply(step, backward_with(1.0), recording=True)
        row = update.instruments.step_row()
        for tensor, old, weight in zip(names, before, update.weights, strict=True):
            key = f"update_ratio/{tensor}"
            norm = old.norm().item()
            assert row[f"weight_norm/{tensor}"] == pytest.approx(norm, rel=1e-6)
            if norm == 0:
                assert row[key] is None
            else:
                assert row[key] == pytest.approx((weight - old).norm().item() / norm, rel=1e-4)
    assert set(row) == {f"{kind}/{name}" for name in names for kind in ("update_ratio", "weight_norm")}


@pytest.mark.parametrize("name", ["Sgd", "Nesterov", "Adagrad", "RmsProp", "Adam", "AdamW"])
def test_groups_take_the_steps_of_separate_optimizers_with_their_learning_rates(name: str) -> None:
    from cnntrain.optim import settings as optim

    scales = (1.0, 7.0)

    def layers(update: Update) -> list[list[torch.Tensor]]:
        return [update.weights[:2], update.weights[2:]]

    grouped, separate = make_update(), make_update()
    option = getattr(optim, name)(lr=0.1)
    groups = [
        {"params": weights, "lr_scale": scale} for weights, scale in zip(layers(grouped), scales, strict=True)
    ]
    set_optimizer(grouped, option.build(groups, fused=True))
    optimizers = [
        getattr(optim, name)(lr=0.1 * scale).build(weights, fused=True)
        for weights, scale in zip(layers(separate), scales, strict=True)
    ]
    for step in range(4):
        for update in (grouped, separate):
            set_gradients(update, 0.3 - 0.2 * step)
        grouped.apply(step, backward_with(1.0), recording=False)
        for optimizer in optimizers:
            optimizer.step()
        saved = copy.deepcopy(grouped.state_dict())
        grouped.load_state_dict(saved)
    for mine, other in zip(grouped.weights, separate.weights, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_lbfgs_in_an_update_equals_torchs_with_the_penalty_in_its_closure(
    memory_format: torch.memory_format,
) -> None:
    from cnntrain.optim.settings import Lbfgs

    torch.manual_seed(0)
    images, targets = torch.randn(20, 2, 3, 3).double(), torch.randn(20, 2, 1, 1).double()
    ours, theirs = nn.Conv2d(2, 2, 3).double(), nn.Conv2d(2, 2, 3).double()
    theirs.load_state_dict(ours.state_dict())
    ours.to(memory_format=memory_format)
    update = Update(
        ours,
        OptimizerStages(
            Lbfgs().stages(list(ours.parameters()), False, 1, 3), Constant(warmup_epochs=0).build(1, 3)
        ),
        Regularizers(l2=0.1).build(ours),
        0.01,  # no gradient is clipped: the line search needs the gradient of the loss it evaluates
        CPU,
        fp16=False,
    )
    optimizer = torch.optim.LBFGS(
        theirs.parameters(), max_iter=4, history_size=10, line_search_fn="strong_wolfe"
    )

    evaluations = {"ours": 0, "theirs": 0}

    def backward() -> torch.Tensor:
        evaluations["ours"] += 1
        loss = (ours(images) - targets).square().mean()
        loss.backward()
        return loss.detach()

    def closure() -> torch.Tensor:
        evaluations["theirs"] += 1
        optimizer.zero_grad()
        loss = (theirs(images) - targets).square().mean() + 0.05 * theirs.weight.square().sum()
        loss.backward()
        return loss

    for step in range(3):
        update.apply(step, backward, recording=True)
        optimizer.step(closure)
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert evaluations["ours"] == evaluations["theirs"]
    # After three steps this quadratic problem of 36 weights is near its minimum.
    theirs.zero_grad()
    closure()
    assert theirs.weight.grad.norm() < 1e-2


def test_muon_changes_neither_filters_nor_velocities_when_found_inf_is_set() -> None:
    torch.manual_seed(0)
    filters = nn.Parameter(torch.randn(4, 2, 3, 3))
    optimizer = Muon().build([filters], False)
    for found_inf, value in ((0.0, 0.2), (1.0, float("nan"))):
        before = filters.detach().clone()
        velocity = {key: entry["velocity"].clone() for key, entry in optimizer.state.items()}
        filters.grad = torch.full_like(filters, value)
        optimizer.found_inf = torch.tensor(found_inf)
        optimizer.step()
        assert torch.equal(filters, before) == bool(found_inf)
    assert torch.equal(optimizer.state[filters]["velocity"], velocity[filters])


def test_lbfgs_makes_no_step_with_a_non_finite_gradient() -> None:
    from cnntrain.optim.settings import Lbfgs

    update = make_update()
    update.optimizers = OptimizerStages(
        Lbfgs().stages(update.weights, False, 1, 1), update.optimizers.schedule
    )
    update.skipped.on_device = True  # as on CUDA
    before = [weight.detach().clone() for weight in update.weights]
    set_gradients(update, float("inf"))
    with pytest.raises(NonFinite):
        update.apply(0, backward_with(1.0), recording=False)
    for weight, old in zip(update.weights, before, strict=True):
        assert torch.equal(weight, old)


def test_the_norm_of_each_unit_is_limited_after_every_update() -> None:
    update = make_update()
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    update.weights = list(network.parameters())
    update.regularization = Regularizers(max_norm=0.25).build(network)
    set_optimizer(update, torch.optim.SGD(update.weights, lr=0.1))
    for step in range(2):
        set_gradients(update, -50.0)
        update.apply(step, backward_with(1.0), recording=False)
        for layer in network:
            norms = layer.weight.norm(dim=1)
            assert norms.max() <= 0.25 * (1 + 1e-5)
            assert norms.max() > 0.24


@pytest.mark.parametrize("mode", ["at once", "on the device", "on the device, not fused", "fp16"])
def test_updates_equal_those_of_torch_with_the_penalty_in_its_loss_and_its_own_decay(mode: str) -> None:
    """Without momentum, decoupled decay is the weight decay of torch's SGD."""
    update = make_update(max_grad_norm=0.5, fp16=mode == "fp16")
    inputs, targets = torch.randn(8, 3), torch.randn(8, 2)
    network = nn.Linear(3, 2)
    theirs = copy.deepcopy(network)
    update.weights = list(network.parameters())
    update.regularization = Regularizers(l2=0.3, weight_decay=0.2, biases=True).build(network)
    set_optimizer(update, torch.optim.SGD(update.weights, lr=0.1, fused=mode == "on the device"))
    update.skipped.on_device = mode != "at once"
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, weight_decay=0.2)
    for step in range(3):

        def backward(scale: float = 1.0) -> torch.Tensor:
            loss: torch.Tensor = (network(inputs) - targets).square().mean() * scale
            torch.autograd.backward(update.scaler.scale(loss))
            return loss.detach()

        if mode == "fp16" and step == 1:  # skipped, with a lower scale of the loss from then on
            update.apply(step, lambda: backward(math.inf), recording=False)
        result = update.apply(step, backward, recording=False)
        optimizer.zero_grad()
        data_loss = (theirs(inputs) - targets).square().mean()
        loss = data_loss + 0.15 * sum(weight.square().sum() for weight in theirs.parameters())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step()
        assert norm > 0.5
        for mine, other in ((result.loss, loss), (result.data_loss, data_loss), (result.grad_norm, norm)):
            torch.testing.assert_close(mine, other.detach())
    for mine, other in zip(network.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_increasing_momentum_evaluates_gradients_at_the_look_ahead_of_the_classic_form() -> None:
    """The classic form: v' = μv - lr·f'(w + μv), w' = w + v'; the weights of an update are w + μv."""
    update = make_update()
    look_ahead = nn.Parameter(torch.tensor([2.0, -1.0]))
    update.weights = [look_ahead]
    stages = Nesterov(lr=0.1, momentum=0.3, final_momentum=0.9).stages([{"params": look_ahead}], True, 3, 2)
    update.optimizers = OptimizerStages(stages, update.optimizers.schedule)
    curvature = torch.tensor([1.0, 4.0])
    weights, velocity = look_ahead.detach().clone(), torch.zeros(2)

    def backward() -> torch.Tensor:
        look_ahead.grad = curvature * look_ahead.detach()
        return torch.tensor(1.0)

    for step in range(6):
        momentum = 0.3 + 0.6 * step / 5
        velocity = momentum * velocity - 0.1 * curvature * (weights + momentum * velocity)
        weights = weights + velocity
        update.apply(step, backward, recording=False)
        following = min(0.9, 0.3 + 0.6 * (step + 1) / 5)
        torch.testing.assert_close(look_ahead.detach(), weights + following * velocity)


@pytest.mark.parametrize("fp16", [False, True])
def test_an_update_continues_exactly_from_its_state(fp16: bool) -> None:
    def run(update: Update, steps: range) -> None:
        for step in steps:
            set_gradients(update, math.inf if fp16 and step == 1 else 0.3 - 0.1 * step)
            update.scaler.scale(torch.tensor(1.0))
            update.apply(step, backward_with(1.0), recording=False)
            update.optimizers.schedule.after_epoch(1.0)

    first, second = make_update(fp16=fp16), make_update(fp16=fp16)
    for update in (first, second):
        schedule = Plateau(warmup_epochs=0, patience_epochs=1).build(10, 10)
        update.optimizers = OptimizerStages(update.optimizers.stages, schedule)
    run(first, range(3))
    state = copy.deepcopy(first.state_dict())
    second.check_state(state, "last.pt", 3)
    second.load_state_dict(state)
    for mine, other in zip(second.weights, first.weights, strict=True):
        mine.data.copy_(other)
    for update in (first, second):
        run(update, range(3, 6))
    for mine, other in zip(second.weights, first.weights, strict=True):
        assert torch.equal(mine, other)
    assert second.scaler.get_scale() == first.scaler.get_scale()
    assert second.skipped.total == first.skipped.total == int(fp16)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("optimizers", lambda stored: stored * 2, "update.optimizers must be a list of 1"),
        ("optimizers", lambda stored: [{"state": {}}], "update.optimizers[0] must have the keys"),
        ("schedule", lambda stored: {"level": 1.0}, "update.schedule.level is unknown"),
        ("skipped", lambda stored: stored[:4], "update.skipped is 4 float32, must be 5 float32"),
        ("scaler", lambda stored: {}, "update.scaler._growth_tracker is missing"),
    ],
)
def test_a_state_that_does_not_fit_is_reported_with_its_file_and_part(
    part: str, change: Callable[[Any], Any], message: str
) -> None:
    update = make_update(fp16=True)
    state = update.state_dict()
    update.check_state(state, "last.pt", 0)
    with pytest.raises(DataError, match=re.escape(f"last.pt: {message}")):
        update.check_state(state | {part: change(state[part])}, "last.pt", 0)
