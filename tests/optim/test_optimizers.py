"""Each optimizer against its formula in the notes, written out for a single weight (O1–O4, O11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cnntrain.optim import settings as optim
from cnntrain.optim.optimizer_stages import Stage

STEPS = 12
LR = 0.1


def gradient(x: float) -> float:
    """Return the slope of a piecewise quadratic function; its sign changes along the path."""
    return 3.0 * x + 2.0 * (x > 0.4) - 0.5


def sgd(momentum: float) -> list[float]:
    x, v, path = 1.0, 0.0, []
    for _ in range(STEPS):
        v = momentum * v + gradient(x)
        x -= LR * v
        path.append(x)
    return path


def nesterov(momentum: float) -> list[float]:
    # The notes' rewritten form, with the rate inside v: x += -mu·v_prev + (1 + mu)·v.
    x, v, path = 1.0, 0.0, []
    for _ in range(STEPS):
        before = v
        v = momentum * v - LR * gradient(x)
        x += -momentum * before + (1 + momentum) * v
        path.append(x)
    return path


def nesterov_lookahead(momentum: float) -> list[float]:
    """Return the points x + mu·v at which Nesterov's original form takes gradients: the other form's path."""
    x, v, path = 1.0, 0.0, []
    for _ in range(STEPS):
        v = momentum * v - LR * gradient(x + momentum * v)
        x += v
        path.append(x + momentum * v)
    return path


def adagrad() -> list[float]:
    x, cache, path = 1.0, 0.0, []
    for _ in range(STEPS):
        g = gradient(x)
        cache += g * g
        x -= LR * g / (cache**0.5 + 1e-8)
        path.append(x)
    return path


def rmsprop(decay: float) -> list[float]:
    x, cache, path = 1.0, 0.0, []
    for _ in range(STEPS):
        g = gradient(x)
        cache = decay * cache + (1 - decay) * g * g
        x -= LR * g / (cache**0.5 + 1e-8)
        path.append(x)
    return path


def adam() -> list[float]:
    x, m, v, path = 1.0, 0.0, 0.0, []
    for t in range(1, STEPS + 1):
        g = gradient(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x -= LR * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)
        path.append(x)
    return path


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("option", "formula"),
    [
        (optim.Sgd(lr=LR, momentum=0.0), lambda: sgd(0.0)),
        (optim.Sgd(lr=LR, momentum=0.9), lambda: sgd(0.9)),
        (optim.Nesterov(lr=LR, momentum=0.9), lambda: nesterov(0.9)),
        (optim.Nesterov(lr=LR, momentum=0.5), lambda: nesterov_lookahead(0.5)),
        (optim.Adagrad(lr=LR), adagrad),
        (optim.RmsProp(lr=LR, decay=0.9), lambda: rmsprop(0.9)),
        (optim.Adam(lr=LR), adam),
        (optim.AdamW(lr=LR), adam),
    ],
    ids=["sgd", "momentum", "nesterov", "looking ahead", "adagrad", "rmsprop", "adam", "adamw"],
)
def test_the_path_equals_the_formula(
    option: optim.Optim, formula: Callable[[], list[float]], fused: bool
) -> None:
    weight = torch.tensor([1.0], requires_grad=True)
    optimizer = option.build([weight], fused)
    path = []
    for _ in range(STEPS):
        weight.grad = torch.tensor([gradient(weight.item())])
        optimizer.step()
        path.append(weight.item())
    assert path == pytest.approx(formula(), rel=1e-4, abs=1e-5)


def path_of(stage: Stage, weight: torch.Tensor, steps: int = STEPS) -> list[float]:
    """Return the path of an optimizer with a changing momentum, driven as by `Update`."""
    assert stage.momentum is not None
    path = []
    for step in range(steps):
        for group in stage.optimizer.param_groups:
            group["momentum"] = stage.momentum(step)
            group["next_momentum"] = stage.momentum(step + 1)
        weight.grad = torch.tensor([gradient(weight.item())])
        stage.optimizer.step()
        path.append(weight.item())
    return path


def test_momentum_rises_linearly() -> None:
    weight = torch.tensor([1.0], requires_grad=True)
    (stage,) = optim.Sgd(momentum=0.5, final_momentum=0.9).stages([weight], False, 3, 3)
    assert stage.momentum is not None
    assert [stage.momentum(step) for step in range(10)] == pytest.approx(
        [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.9]
    )
    (stage,) = optim.Sgd(momentum=0.5, final_momentum=0.9, momentum_epochs=1).stages([weight], False, 3, 3)
    assert stage.momentum is not None
    assert [stage.momentum(step) for step in (0, 1, 2, 8)] == pytest.approx([0.5, 0.7, 0.9, 0.9])


def test_nesterov_with_a_changing_momentum_equals_its_lookahead_form() -> None:
    def mu(step: int) -> float:
        return 0.5 + 0.45 * min(1.0, step / (STEPS - 1))

    # The gradient at x + mu·v, where v is the step itself and contains the constant learning rate.
    x, v, lookahead = 1.0, 0.0, []
    for step in range(STEPS):
        v = mu(step) * v - LR * gradient(x + mu(step) * v)
        x += v
        lookahead.append(x + mu(step + 1) * v)
    weight = torch.tensor([1.0], requires_grad=True)
    option = optim.Nesterov(lr=LR, momentum=0.5, final_momentum=0.95)
    (stage,) = option.stages([weight], False, STEPS, 1)
    assert path_of(stage, weight) == pytest.approx(lookahead, rel=1e-4, abs=1e-5)


def test_switch_gives_two_optimizers_with_their_own_rates_and_decays() -> None:
    weight = torch.tensor([1.0], requires_grad=True)
    option = optim.Switch(first="adagrad", then="adamw", switch_epoch=2.5, then_lr=0.3)
    first, then = option.stages([{"params": [weight], "lr_scale": 2.0}], False, 10, 8)
    assert (first.from_step, then.from_step) == (0, 25)
    assert (first.lr, then.lr) == (optim.Adagrad().lr, 0.3)
    assert (first.weight_decay, then.weight_decay) == (0.0, 0.01)
    assert isinstance(first.optimizer, torch.optim.Adagrad)
    assert isinstance(then.optimizer, torch.optim.Adam)
    assert then.optimizer.param_groups[0]["lr_scale"] == 2.0
