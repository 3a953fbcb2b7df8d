"""One update: changes of the weights, non-finite values, and measurements."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from cnntrain.optim.optimizer_stages import OptimizerStages, Stage
from cnntrain.optim.settings import Adagrad, Muon, Nesterov, Optim, Sgd
from cnntrain.regularization.settings import Regularizers
from cnntrain.schedule.settings import Constant
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
    for step in range(3):
        before = [weight.detach().clone() for weight in update.weights]
        set_gradients(update, 0.3)
        update.apply(step, backward_with(1.0), recording=True)
        row = update.update_ratio.row()
        for tensor, old, weight in zip(update.update_ratio.names, before, update.weights, strict=True):
            key = f"update_ratio/{tensor}"
            norm = old.norm().item()
            if norm == 0:
                assert row[key] is None
            else:
                assert row[key] == pytest.approx((weight - old).norm().item() / norm, rel=1e-4)
    assert set(row) == {
        "update_ratio/0.weight",
        "update_ratio/0.bias",
        "update_ratio/2.weight",
        "update_ratio/2.bias",
    }


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

    def backward() -> torch.Tensor:
        loss = (ours(images) - targets).square().mean()
        loss.backward()
        return loss.detach()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (theirs(images) - targets).square().mean() + 0.05 * theirs.weight.square().sum()
        loss.backward()
        return loss

    for step in range(3):
        update.apply(step, backward, recording=True)
        optimizer.step(closure)
    torch.testing.assert_close(ours.weight, theirs.weight)
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
