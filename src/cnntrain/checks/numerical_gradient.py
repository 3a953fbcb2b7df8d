"""Gradients of backpropagation against central differences in double precision (K1, K2)."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .kinks import Pieces

# Steps h of the difference (f(x + h) - f(x - h)) / 2h, tried in this order until the error is below EXACT.
STEPS = (1e-5, 1e-4, 1e-6, 1e-7)
EXACT = 1e-7
# Verdicts by the relative error (CS231n, notes 3): above 1e-2 a gradient is probably wrong; down to 1e-4 it
# should not be trusted; below, it is usually right where there are kinks, and from 1e-7 on it is. Differences
# across a kink are set apart here, and right gradients in double precision stay below TOLERANCE.
VERDICTS = ((1e-2, "wrong"), (1e-4, "suspicious"), (EXACT, "acceptable"), (-1.0, "right"))
TOLERANCE = 1e-4
# Rounding error of the loss, relative to its size: sums of thousands of numbers in double precision.
ROUNDING = 1e-14
# Of many tensors compared together, none is moved farther than so many times the median.
LONGEST = 10
# Gradients smaller than this cannot be told from 0 (K2).
TINY = 1e-10

Loss = Callable[[], Tensor]


@dataclass(frozen=True)
class GradientError:
    """The comparison of one tensor's gradient with central differences.

    error: the largest relative error |a - n| / max(|a|, |n|) of the entries and the direction compared, None
    if nothing could be compared. compared: their number. kinks: the number set apart, as a ReLU or a maximum
    changed its winner between the two points of every difference. largest: the largest absolute entry of the
    gradient.
    """

    tensor: str
    error: float | None
    compared: int
    kinks: int
    largest: float

    @property
    def verdict(self) -> str:
        """The band of `VERDICTS` in which the error lies, or "not compared"."""
        if self.error is None:
            return "not compared"
        return next(
            (name for limit, name in VERDICTS if self.error > limit), "wrong"
        )  # also if it is no number

    @property
    def is_wrong(self) -> bool:
        """Whether the gradient differs from the central differences: it is wrong or suspicious."""
        return self.error is not None and not self.error <= TOLERANCE


def compare_gradients(
    loss: Loss,
    tensors: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    entries: int,
    rng: torch.Generator,
    until: float = math.inf,
    until_each: float | None = None,
) -> list[GradientError]:
    """Return the comparison of each tensor's gradient with central differences of `loss`.

    loss: a deterministic function of the tensors' current values, which are changed in place and restored;
    double precision. First, the derivative of each tensor is compared in a random direction that changes all
    its entries at once, so that an error of any entry is noticed; then, in the same order, `entries` entries
    of each, all if it has no more. No entries but those of the first tensor are begun after `until`, in
    seconds of time.perf_counter, and no tensor but the first after `until_each`, `until` if that is None:
    those not begun are left out.
    """
    until_each = until if until_each is None else until_each
    found: dict[str, GradientError] = {}
    for name, tensor in tensors.items():
        if found and time.perf_counter() > until_each:
            break
        directions = [_all_entries(tensor, rng)] if tensor.numel() > 1 else []
        found[name] = _compare(loss, name, tensor.detach(), gradients[name].detach(), directions)
    for number, (name, one) in enumerate(found.items()):
        tensor, gradient = tensors[name].detach(), gradients[name].detach()
        if number and tensor.numel() > 1 and time.perf_counter() > until:
            continue
        found[name] = _joined(one, _compare(loss, name, tensor, gradient, _entries(gradient, entries, rng)))
    return list(found.values())


def compare_together(
    loss: Loss, tensors: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rng: torch.Generator
) -> GradientError:
    """Return the comparison of many tensors' gradients along one direction that changes all of them.

    Every tensor contributes the same to the derivative as far as possible, so that a relative error e in one
    of n is one of e / n.
    """
    directions = {name: _all_entries(tensor, rng) for name, tensor in tensors.items()}
    slopes = {name: (gradients[name] * direction).sum().item() for name, direction in directions.items()}
    # Equal contributions; a tensor of far smaller gradients than the others would be moved too far.
    lengths = {name: 1 / abs(slope) if slope else math.inf for name, slope in slopes.items()}
    finite = [length for length in lengths.values() if length < math.inf]
    longest = LONGEST * statistics.median(finite) if finite else 1.0
    scales = {name: math.copysign(min(length, longest), slopes[name]) for name, length in lengths.items()}
    total = math.sqrt(sum(scale**2 for scale in scales.values()))
    moves = [(tensors[name].detach(), directions[name] * (scale / total)) for name, scale in scales.items()]
    expected = sum(slopes[name] * scale / total for name, scale in scales.items())
    error = _relative_error(loss, moves, expected)
    largest = max(gradients[name].abs().max().item() for name in tensors)
    compared = 0 if error is None else 1
    return GradientError(f"{len(tensors)} tensors together", error, compared, 1 - compared, largest)


def backpropagated(loss: Loss, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of `loss` with respect to each tensor, 0 where it does not depend on it."""
    values = list(tensors.values())
    gradients = torch.autograd.grad(loss(), values, allow_unused=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(tensors.items(), gradients, strict=True)
    }


def _compare(
    loss: Loss, name: str, tensor: Tensor, gradient: Tensor, directions: Iterable[Tensor]
) -> GradientError:
    error, compared, kinks = 0.0, 0, 0
    for direction in directions:
        found = _relative_error(loss, [(tensor, direction)], (gradient * direction).sum().item())
        if found is None:
            kinks += 1
        else:
            compared += 1
            error = max(error, found)
    largest = gradient.abs().max().item() if gradient.numel() else 0.0
    return GradientError(name, error if compared else None, compared, kinks, largest)


def _joined(one: GradientError, other: GradientError) -> GradientError:
    """Return two comparisons of the same tensor as one."""
    errors = [found.error for found in (one, other) if found.error is not None]
    compared, kinks = one.compared + other.compared, one.kinks + other.kinks
    return GradientError(one.tensor, max(errors, default=None), compared, kinks, one.largest)


def _entries(gradient: Tensor, count: int, rng: torch.Generator) -> Iterable[Tensor]:
    """Yield directions of length 1 that change single entries."""
    for index in _chosen_entries(gradient, count, rng).tolist():
        direction = torch.zeros_like(gradient)
        direction.view(-1)[index] = 1.0
        yield direction


def _all_entries(tensor: Tensor, rng: torch.Generator) -> Tensor:
    """Return a direction of length 1 that changes all entries, up or down.

    The amounts differ by up to a factor of 3, so that errors of several entries do not cancel.
    """
    signs = torch.randint(2, tensor.shape, generator=rng, dtype=tensor.dtype) * 2 - 1
    amounts = signs * (0.5 + torch.rand(tensor.shape, generator=rng, dtype=tensor.dtype))
    direction: Tensor = amounts / amounts.norm()
    return direction.to(tensor.device)


def _chosen_entries(gradient: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Return the indices of `count` entries: half evenly spread, half of the largest gradients."""
    total = gradient.numel()
    if total <= count:
        return torch.arange(total)
    spread = count - count // 2
    starts = torch.arange(spread, dtype=torch.float64)
    even = ((starts + torch.rand(spread, generator=rng, dtype=torch.float64)) * total / spread).long()
    large = gradient.abs().flatten().topk(count // 2).indices.cpu()
    return torch.tensor(sorted({*even.tolist(), *large.tolist()}))


@torch.no_grad()
def _relative_error(loss: Loss, moves: list[tuple[Tensor, Tensor]], expected: float) -> float | None:
    """Return the smallest relative error over the steps h; None if each has a kink between its points.

    moves: tensors with their directions. expected: the derivative.
    """
    errors = []
    before = [tensor.clone() for tensor, _ in moves]
    for h in STEPS:
        values, pieces = [], []
        for sign in (1, -1):
            for (tensor, direction), values_before in zip(moves, before, strict=True):
                torch.add(values_before, direction, alpha=sign * h, out=tensor)
            with Pieces() as taken:
                values.append(loss().item())
            pieces.append(taken)
        for (tensor, _), values_before in zip(moves, before, strict=True):
            tensor.copy_(values_before)
        if not pieces[0].equals(pieces[1]):
            continue
        errors.append(_error(expected, values[0], values[1], h))
        if errors[-1] <= EXACT:
            break
    return min(errors) if errors else None


def _error(expected: float, above: float, below: float, h: float) -> float:
    numerical = (above - below) / (2 * h)
    difference = abs(expected - numerical)
    if not math.isfinite(difference):
        return math.inf
    rounding = ROUNDING * max(abs(above), abs(below)) / h
    # Where rounding alone is more than TOLERANCE of a derivative, it counts as if it were larger.
    return difference / max(abs(expected), abs(numerical), rounding / TOLERANCE, TINY)
