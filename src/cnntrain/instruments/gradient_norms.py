"""The norm of each trained tensor's gradient, by depth: where gradients vanish or explode (W3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..runs.metrics_file import Row
from .instrument import TensorInstrument


class GradientNorms(TensorInstrument):
    """Norm of the gradient of each trained tensor, penalties included, before clipping."""

    def __init__(self, network: nn.Module):
        super().__init__(network)
        self._norms: Tensor | None = None

    @contextmanager
    def around_update(self) -> Iterator[None]:
        """Measure the gradients found when the context is entered."""
        with torch.no_grad():
            gradients = [
                weight.new_zeros(()) if weight.grad is None else weight.grad for weight in self.weights
            ]
            self._norms = torch.stack(torch._foreach_norm(gradients))
        yield

    def row(self) -> Row:
        """Return gradient_norm/<name> of the last measured update."""
        assert self._norms is not None, "row() needs a measured update"
        return {
            f"gradient_norm/{name}": value
            for name, value in zip(self.names, self._norms.tolist(), strict=True)
        }
