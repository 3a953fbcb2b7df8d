"""Moments of the activations of each layer, and the fractions of them that are 0 or saturated (W3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ..runs.metrics_file import Row
from .activation_layers import RECTIFIERS, SATURATING, in_memory_order, saturated_fraction, watching
from .instrument import Instrument

MEAN, DEVIATION = "activation_mean", "activation_deviation"


class Activations(Instrument):
    """Moments of each activation layer's output over a batch, in the last forward pass of a measured step."""

    of_part = True

    def __init__(self, network: nn.Module):
        self._network = network
        self._results: dict[str, Tensor] = {}
        self._images = 0

    def around_step(self, step: int) -> AbstractContextManager[object]:
        """Measure the activations of the forward passes made inside the context."""
        self._results.clear()
        return watching(self._network, self._measure)

    def measured(self) -> tuple[int, dict[str, Tensor]]:
        return self._images, self._results

    def join(self, parts: Sequence[tuple[int, dict[str, Tensor]]]) -> None:
        if not self._results:
            return
        images = sum(count for count, _ in parts)
        weights = torch.tensor([count / images for count, _ in parts])
        names = parts[0][1].keys()
        values = {name: torch.stack([results[name] for _, results in parts]) for name in names}
        self._results = {name: weights @ of_parts for name, of_parts in values.items()}
        for name in names:
            layer = name.removeprefix(f"{DEVIATION}/")
            if layer != name:
                from_mean = values[f"{MEAN}/{layer}"] - self._results[f"{MEAN}/{layer}"]
                self._results[name] = (weights @ (values[name].square() + from_mean.square())).sqrt()

    def row(self) -> Row:
        """Return activation_mean/<layer> and activation_deviation/<layer> of the last measured step.

        Also zero_fraction/<layer> of rectifiers, saturated_fraction/<layer> of tanh and sigmoid.
        """
        if not self._results:
            return {}
        values = torch.stack(list(self._results.values())).tolist()
        return dict(zip(self._results, values, strict=True))

    @torch.no_grad()
    def _measure(self, name: str, module: nn.Module, output: Tensor) -> None:
        self._images = len(output)
        values = in_memory_order(output).float()
        mean = values.mean()
        self._results[f"{MEAN}/{name}"] = mean
        # On a CPU, torch.std_mean takes ten times as long.
        self._results[f"{DEVIATION}/{name}"] = (values - mean).norm() / math.sqrt(values.numel())
        if isinstance(module, RECTIFIERS):
            self._results[f"zero_fraction/{name}"] = 1 - values.sign().mean()
        elif isinstance(module, SATURATING):
            self._results[f"saturated_fraction/{name}"] = saturated_fraction(module, values)
