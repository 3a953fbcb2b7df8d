"""The paths of optimizers on a bowl and on a saddle, and what each did there in words (O12).

Both surfaces are f = ½·(a·x² + b·y²). On the saddle all start almost on its ridge: plain SGD multiplies y
by 1 + 2·lr at each step, so it leaves after log(1/y)/log(1 + 2·lr) steps, while a method that divides by the
gradient's own size takes full steps from the first.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ..optim.settings import Adagrad, Adam, Nesterov, Optim, RmsProp, Sgd

# As near as this to the minimum counts as there.
NEAR = 1e-2
# As far as this from the ridge counts as having left the saddle.
AWAY = 1.0


@dataclass(frozen=True)
class Surface:
    """f = ½·(a·x² + b·y²) with curvatures (a, b); a path ends where a coordinate is beyond `reach`."""

    name: str
    formula: str
    curvatures: tuple[float, float]
    start: tuple[float, float]
    reach: float
    window: tuple[float, float, float, float]
    levels: list[float]

    def height(self, points: Tensor) -> Tensor:
        """Return f at points (…, 2)."""
        return (0.5 * torch.tensor(self.curvatures, dtype=points.dtype) * points**2).sum(-1)

    def gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of f at one point (2,)."""
        return torch.tensor(self.curvatures, dtype=point.dtype) * point


BOWL = Surface(
    name="bowl",
    formula="f = ½·(0.5·x² + 20·y²)",
    curvatures=(0.5, 20.0),
    start=(-2.0, 0.6),
    reach=100.0,
    window=(-2.3, 1.3, -0.8, 0.8),
    levels=[0.01, 0.03, 0.1, 0.3, 0.6, 1.0, 2.0, 3.0, 4.5],
)
SADDLE = Surface(
    name="saddle",
    formula="f = x² - y²",
    curvatures=(2.0, -2.0),
    start=(-1.0, 1e-7),
    reach=3.0,
    window=(-1.2, 1.2, -0.4, 1.2),
    levels=[-1.2, -0.9, -0.6, -0.3, -0.1, 0.0, 0.1, 0.3, 0.6, 0.9, 1.2],
)


def example_optimizers(lr: float | None) -> dict[str, Optim]:
    """Return the optimizers by name, each with a rate that is good for it on the bowl, or all with `lr`."""
    return {
        "sgd": Sgd(lr=lr or 0.08, momentum=0.0),
        "momentum": Sgd(lr=lr or 0.05, momentum=0.9),
        "nesterov": Nesterov(lr=lr or 0.04),
        "adagrad": Adagrad(lr=lr or 0.3),
        "rmsprop": RmsProp(lr=lr or 0.03),
        "adam": Adam(lr=lr or 0.1),
    }


def descend(optim: Optim, surface: Surface, steps: int) -> Tensor:
    """Return the places of an optimizer, float64 (up to steps + 1, 2), first the start."""
    place = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = optim.build([place], fused=False)
    places = [place.detach().clone()]
    while len(places) <= steps and places[-1].abs().max() <= surface.reach:
        place.grad = surface.gradient(places[-1])
        optimizer.step()
        places.append(place.detach().clone())
    return torch.stack(places)


@dataclass(frozen=True)
class OnBowl:
    """What a path did on the bowl.

    arrived: the step from which on it stays within 0.01 of the minimum, None where it does not.
    distance: from the minimum at the end. crossings: how often a step went across the valley's floor from
    more than 0.01 away. past: how far it ran beyond the minimum along the valley.
    """

    arrived: int | None
    distance: float
    crossings: int
    past: float

    def describe(self, steps: int, reach: float) -> str:
        """Return this as a sentence."""
        if self.distance > reach:
            return f"diverged after {steps} steps"
        parts = [
            f"{self.distance:.2g} from the minimum after {steps} steps"
            if self.arrived is None
            else f"within {NEAR:g} of the minimum from step {self.arrived} on",
            f"crossed the valley {self.crossings} time{'s' * (self.crossings != 1)}",
        ]
        if self.past > NEAR:
            parts.append(f"ran past the minimum by {self.past:.2f}")
        return "; ".join(parts)


@dataclass(frozen=True)
class OnSaddle:
    """What a path did on the saddle.

    left: the first step at which |y| is at least 1, None where there is none. x and y: where it was then,
    or at the end.
    """

    left: int | None
    x: float
    y: float

    def describe(self, steps: int) -> str:
        """Return this as a sentence."""
        if self.left is None:
            return f"still at the saddle after {steps} steps: x = {self.x:.2g}, y = {self.y:.2g}"
        return f"left after {self.left} steps, at x = {self.x:.2g}"


def on_bowl(places: Tensor) -> OnBowl:
    """Return what a path (steps + 1, 2) did on the bowl, whose minimum is at 0 and valley along x."""
    distances = places.norm(dim=1)
    after = int((distances > NEAR).nonzero().max()) + 1
    arrived = after if after < len(places) else None
    across = itertools.pairwise(places[:, 1].tolist())
    crossings = sum(one * other < 0 and abs(one) > NEAR for one, other in across)
    past = float((-places[0, 0].sign() * places[:, 0]).max().clamp(min=0))
    return OnBowl(arrived, float(distances[-1]), crossings, past)


def on_saddle(places: Tensor) -> OnSaddle:
    """Return what a path (steps + 1, 2) did on the saddle at 0, which falls away along y."""
    away = (places[:, 1].abs() >= AWAY).nonzero().flatten().tolist()
    left = away[0] if away else None
    x, y = places[-1 if left is None else left].tolist()
    return OnSaddle(left, x, y)
