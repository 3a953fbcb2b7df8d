"""Paths of optimizers on a bowl and on a saddle, with a description of each (O12).

Both surfaces are f = ½·(a·x² + b·y²). On the saddle all start close to its ridge: plain SGD multiplies y
by 1 + 2·lr at each step, so it leaves after log(1/y)/log(1 + 2·lr) steps, while a method that divides by the
magnitude of the gradient takes steps of full size from the first.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ..optim.settings import Adagrad, Adam, Nesterov, Optim, RmsProp, Sgd

# Within this distance the minimum counts as reached.
NEAR = 1e-2
# From this distance from the ridge on, the saddle counts as left.
AWAY = 1.0


@dataclass(frozen=True)
class Surface:
    """f = ½·(a·x² + b·y²) with curvatures (a, b); a path ends where |x| or |y| exceeds `reach`.

    window: smallest and largest x, then y, of the drawn map. levels: of its contour lines.
    """

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
    """Return the optimizers by name, each with a learning rate suitable for the bowl, or all with `lr`."""
    return {
        "sgd": Sgd(lr=lr or 0.08, momentum=0.0),
        "momentum": Sgd(lr=lr or 0.05, momentum=0.9),
        "nesterov": Nesterov(lr=lr or 0.04),
        "adagrad": Adagrad(lr=lr or 0.3),
        "rmsprop": RmsProp(lr=lr or 0.03),
        "adam": Adam(lr=lr or 0.1),
    }


def descend(optim: Optim, surface: Surface, steps: int) -> Tensor:
    """Return the path of an optimizer from the start, float64 (up to steps + 1, 2)."""
    point = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = optim.build([point], fused=False)
    points = [point.detach().clone()]
    while len(points) <= steps and points[-1].abs().max() <= surface.reach:
        point.grad = surface.gradient(points[-1])
        optimizer.step()
        points.append(point.detach().clone())
    return torch.stack(points)


@dataclass(frozen=True)
class BowlResult:
    """Measurements of a path on the bowl.

    arrived: the step from which on it stays within 0.01 of the minimum, None if it does not. distance:
    from the minimum at the end. crossings: number of steps across the valley floor that start more than
    0.01 away from it. past: distance by which it overshoots the minimum along the valley.
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
class SaddleResult:
    """Measurements of a path on the saddle.

    left: the first step at which |y| is at least 1, None if there is none. x and y: the position at that
    step, or at the end.
    """

    left: int | None
    x: float
    y: float

    def describe(self, steps: int) -> str:
        """Return this as a sentence."""
        if self.left is None:
            return f"still at the saddle after {steps} steps: x = {self.x:.2g}, y = {self.y:.2g}"
        return f"left after {self.left} steps, at x = {self.x:.2g}"


def bowl_result(points: Tensor) -> BowlResult:
    """Return the measurements of a path (steps + 1, 2) on the bowl with minimum at 0 and valley along x."""
    distances = points.norm(dim=1)
    step = int((distances > NEAR).nonzero().max()) + 1
    arrived = step if step < len(points) else None
    pairs = itertools.pairwise(points[:, 1].tolist())
    crossings = sum(y * next_y < 0 and abs(y) > NEAR for y, next_y in pairs)
    past = float((-points[0, 0].sign() * points[:, 0]).max().clamp(min=0))
    return BowlResult(arrived, float(distances[-1]), crossings, past)


def saddle_result(points: Tensor) -> SaddleResult:
    """Return the measurements of a path (steps + 1, 2) on the saddle at 0, which descends along y."""
    away_steps = (points[:, 1].abs() >= AWAY).nonzero().flatten().tolist()
    left = away_steps[0] if away_steps else None
    x, y = points[-1 if left is None else left].tolist()
    return SaddleResult(left, x, y)
