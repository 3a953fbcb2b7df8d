"""Which pieces of a piecewise function a forward pass takes: winners of maxima, signs at ReLUs (K2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..without_compiler import DispatchMode


class Pieces(DispatchMode):
    """Records, inside the context, which piece each value of a piecewise operation lies on.

    Two forward passes with equal records have no kink between them: ReLUs, absolute values and clamps have
    the same signs, maxima, poolings and comparisons the same winners.
    """

    def __init__(self) -> None:
        super().__init__()
        self.record: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if piece := PIECES.get(name):
            self.record.append(piece(args, result))
        elif any(isinstance(value, Tensor) and value.is_floating_point() for value in args):
            # Comparisons, and the indices of maxima, poolings and sorting.
            outputs = result if isinstance(result, tuple | list) else (result,)
            self.record += [
                output.clone()
                for output in outputs
                if isinstance(output, Tensor) and not output.is_floating_point()
            ]
        return result

    def equals(self, other: Pieces) -> bool:
        """Return whether all values lie on the same pieces as in another forward pass."""
        return len(self.record) == len(other.record) and all(map(torch.equal, self.record, other.record))


def _above_zero(args: tuple[Any, ...], result: Tensor) -> Tensor:
    return result > 0


def _above_threshold(args: tuple[Any, ...], result: Tensor) -> Tensor:
    above: Tensor = result > args[1]
    return above


def _input_above_zero(args: tuple[Any, ...], result: Tensor) -> Tensor:
    positive: Tensor = args[0] > 0
    return positive


def _within_bounds(args: tuple[Any, ...], result: Tensor) -> Tensor:
    inside = torch.ones_like(result, dtype=torch.bool)
    lower, upper = (*args[1:3], None, None)[:2]
    if lower is not None:
        inside &= result > lower
    if upper is not None:
        inside &= result < upper
    return inside


def _below_upper(args: tuple[Any, ...], result: Tensor) -> Tensor:
    below: Tensor = result < args[1]
    return below


def _first_wins(args: tuple[Any, ...], result: Tensor) -> Tensor:
    wins: Tensor = args[0] >= args[1]
    return wins


def _attains_maximum(args: tuple[Any, ...], result: Tensor) -> Tensor:
    dims = args[1] if len(args) > 1 else ()
    extreme = torch.amax(args[0], dims, keepdim=True)
    attained: Tensor = args[0] == extreme
    return attained


# What is recorded of an operation, by its name in aten without the underscore of in-place forms.
PIECES: dict[str, Callable[[tuple[Any, ...], Any], Tensor]] = {
    "relu": _above_zero,
    "leaky_relu": _above_zero,
    "elu": _above_zero,
    "prelu": _input_above_zero,
    "_prelu_kernel": _input_above_zero,
    "abs": _input_above_zero,
    "threshold": _above_threshold,
    "clamp": _within_bounds,
    "clamp_min": _within_bounds,
    "clamp_max": _below_upper,
    "hardtanh": _within_bounds,
    "maximum": _first_wins,
    "minimum": _first_wins,
    "amax": _attains_maximum,
}
