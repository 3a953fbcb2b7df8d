"""Histograms of activations and gradients by layer, in a file of the run's folder (W3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..runs.metrics_file import Row, append_row
from .activation_layers import activation_modules, in_memory_order, watching
from .instrument import Instrument

BINS = 30
# Of deeper networks, so many layers are measured, evenly spread from the first to the last.
MAX_LAYERS = 12
# Of larger tensors, so many evenly spread values are counted.
MAX_VALUES = 2**14
# Updates between two measurements, at least: whole epochs.
LEAST_STEPS = 50


class Histograms(Instrument):
    """Histograms of activation layers' outputs and weights' gradients, penalties included, before clipping.

    Measured in the first update of an epoch, and not more often than every LEAST_STEPS updates. Each is a row
    of the file: step, and activation/<layer> and gradient/<tensor> with the keys low, high and counts, those
    of BINS bins of equal width between the smallest and the largest finite value.
    """

    def __init__(self, network: nn.Module, file: Path, steps_per_epoch: int):
        self._network = network
        self._file = file
        self._every_steps = steps_per_epoch * math.ceil(LEAST_STEPS / steps_per_epoch)
        self._layers = set(spread(list(activation_modules(network)), MAX_LAYERS))
        trained = [name for name, w in network.named_parameters() if w.requires_grad and w.ndim > 1]
        self._tensors = spread(trained, MAX_LAYERS)
        self._row: Row = {}

    def due(self, step: int, recording: bool) -> bool:
        return step % self._every_steps == 0

    @contextmanager
    def around_step(self, step: int) -> Iterator[None]:
        """Measure the step made inside the context, and write the row when it ends."""
        self._row = {"step": step + 1}
        with watching(self._network, self._measure):
            yield
        append_row(self._file, self._row)

    @contextmanager
    def around_update(self) -> Iterator[None]:
        """Measure the gradients found when the context is entered."""
        for name in self._tensors:
            gradient = self._network.get_parameter(name).grad
            if gradient is not None:
                self._row[f"gradient/{name}"] = histogram(gradient)
        yield

    def _measure(self, name: str, module: nn.Module, output: Tensor) -> None:
        if name.partition(":")[0] in self._layers:
            self._row[f"activation/{name}"] = histogram(output)


@torch.no_grad()
def histogram(values: Tensor) -> dict[str, Any] | None:
    """Return low, high and the counts of BINS bins of a sample of the values; None if none is finite."""
    flat = in_memory_order(values)
    sample = flat[:: max(1, -(-len(flat) // MAX_VALUES))].float().cpu()
    finite = sample[sample.isfinite()]
    if not len(finite):
        return None
    low, high = (value.item() for value in finite.aminmax())
    # Of a single value, torch takes the interval of width 2 around it.
    return {"low": low, "high": high, "counts": torch.histc(finite, BINS, low, high).int().tolist()}


def spread(names: list[str], most: int) -> list[str]:
    """Return up to `most` of the names, evenly spread, the first and the last among them."""
    if len(names) <= most:
        return names
    return [names[round(number * (len(names) - 1) / (most - 1))] for number in range(most)]
