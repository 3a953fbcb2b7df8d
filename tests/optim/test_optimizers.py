"""Each optimizer against its formula in the notes, written out for single numbers (O1, O2, O4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cnntrain.config import optim

STEPS = 12
LR = 0.1


def gradient(x: float) -> float:
    """The slope of a bowl with a ripple, so that signs change on the way."""
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


def looking_ahead(momentum: float) -> list[float]:
    """Nesterov's own form, the gradient at x + mu·v; its places looked at are those of the other form."""
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
        (optim.Nesterov(lr=LR, momentum=0.5), lambda: looking_ahead(0.5)),
        (optim.Adagrad(lr=LR), adagrad),
        (optim.RmsProp(lr=LR, decay=0.9), lambda: rmsprop(0.9)),
        (optim.Adam(lr=LR), adam),
        (optim.AdamW(lr=LR), adam),
    ],
    ids=["sgd", "momentum", "nesterov", "looking ahead", "adagrad", "rmsprop", "adam", "adamw"],
)
def test_path_equals_the_formulas(
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
