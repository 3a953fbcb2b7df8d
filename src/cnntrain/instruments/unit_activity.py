"""Dead and saturated units, counted over a whole split (W3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ..runs.metrics_file import Row
from .activation_layers import RECTIFIERS, SATURATING, saturated_fraction, watching, zero_units
from .instrument import SplitInstrument

# The metrics of a layer are DEAD/<layer> and SATURATED/<layer>.
DEAD, SATURATED = "dead_units", "saturated_activations"


class UnitActivity(SplitInstrument):
    """Fractions of dead rectified units and of saturated tanh and sigmoid activations over a split.

    A unit, a filter or a feature, is dead if it is 0 at all positions of all images.
    """

    def __init__(self, network: nn.Module):
        self._network = network
        self._zero: dict[str, Tensor] = {}
        self._saturated: dict[str, list[Tensor]] = {}

    def around_split(self) -> AbstractContextManager[object]:
        """Count over the forward passes made inside the context."""
        self._zero.clear()
        self._saturated.clear()
        return watching(self._network, self._count)

    def measured(self) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
        return self._zero, self._saturated

    def join(self, parts: Sequence[tuple[dict[str, Tensor], dict[str, list[Tensor]]]]) -> None:
        self._zero, self._saturated = {}, {}
        for zero, saturated in parts:
            for name, units in zero.items():
                self._zero[name] = self._zero[name] & units if name in self._zero else units
            for name, fractions in saturated.items():
                self._saturated.setdefault(name, []).extend(fractions)

    def row(self) -> Row:
        """Return the fractions of dead units of rectified layers and of saturated activations of others."""
        dead = {f"{DEAD}/{name}": zero.float().mean() for name, zero in self._zero.items()}
        saturated = {
            f"{SATURATED}/{name}": torch.stack(parts).mean() for name, parts in self._saturated.items()
        }
        values = dead | saturated
        if not values:
            return {}
        return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))

    def units(self) -> dict[str, int]:
        """Return the number of units of each rectified layer."""
        return {name: zero.numel() for name, zero in self._zero.items()}

    @torch.no_grad()
    def _count(self, name: str, module: nn.Module, output: Tensor) -> None:
        if isinstance(module, RECTIFIERS):
            zero = zero_units(output)
            self._zero[name] = zero if name not in self._zero else self._zero[name] & zero
        elif isinstance(module, SATURATING):
            self._saturated.setdefault(name, []).append(saturated_fraction(module, output))
