"""Weight norms and update : weight ratios, from the weights before and after each recorded update (W2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..runs.metrics_file import Row
from .instrument import TensorInstrument


class UpdateRatio(TensorInstrument):
    """Norm of each trained tensor, and norm of its actual change over it, for any optimizer."""

    def __init__(self, network: nn.Module):
        super().__init__(network)
        self._ratios: Tensor | None = None
        self._sizes: Tensor | None = None

    @contextmanager
    def around_update(self) -> Iterator[None]:
        """Measure the update made inside the context, which copies the weights once."""
        with torch.no_grad():
            before = [weight.clone() for weight in self.weights]
            yield
            change = torch._foreach_norm(torch._foreach_sub(self.weights, before))
            size = torch._foreach_norm(before)
            self._sizes = torch.stack(size)
            self._ratios = torch.stack(change) / self._sizes

    def row(self) -> Row:
        """Return update_ratio/<name> and weight_norm/<name> of the last measured update.

        The norm is that before the update; the ratio is None for a tensor that was all 0.
        """
        assert self._ratios is not None, "row() needs a measured update"
        assert self._sizes is not None
        values = self._ratios.tolist()
        finite = [None if value != value or value == float("inf") else value for value in values]
        return {
            **{f"update_ratio/{name}": value for name, value in zip(self.names, finite, strict=True)},
            **dict(zip((f"weight_norm/{name}" for name in self.names), self._sizes.tolist(), strict=True)),
        }
