"""Running averages of the weights over the steps of a run (E4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..model.fine_tuning import training_mode


class Average(ABC):
    """A running average of weights; `count` is the number of steps whose weights it includes."""

    def __init__(self, weights: Iterable[Tensor], batch_norm_batches: int):
        self.weights = list(weights)
        self.batch_norm_batches = batch_norm_batches
        self.average = [weight.detach().clone() for weight in self.weights]
        self.count = 0

    @abstractmethod
    def weight(self, step: int) -> float | None:
        """Return the averaging coefficient of the weights after `step` updates, None to leave them out."""

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Update the average with the network's weights after `step` updates."""
        coefficient = self.weight(step)
        if coefficient is not None:
            torch._foreach_lerp_(self.average, self.weights, coefficient)
            self.count += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Replace the network's weights with the average inside the context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        current = [weight.clone() for weight in self.weights]
        torch._foreach_copy_(self.weights, self.average)
        torch._foreach_copy_(self.average, current)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and its count, for a checkpoint."""
        return {"average": self.average, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        with torch.no_grad():
            torch._foreach_copy_(self.average, state["average"])
        self.count = state["count"]


class Exponential(Average):
    """Exponential average: w̄ = d·w̄ + (1 - d)·w, with d at most (1 + t)/(10 + t) after t steps."""

    def __init__(self, weights: Iterable[Tensor], batch_norm_batches: int, decay: float):
        super().__init__(weights, batch_norm_batches)
        self.decay = decay

    def weight(self, step: int) -> float:
        return 1 - min(self.decay, (1 + step) / (10 + step))


class Mean(Average):
    """The mean of the weights at the end of each epoch after the first `start` steps."""

    def __init__(self, weights: Iterable[Tensor], batch_norm_batches: int, steps_per_epoch: int, start: int):
        super().__init__(weights, batch_norm_batches)
        self.steps_per_epoch = steps_per_epoch
        self.start = start

    def weight(self, step: int) -> float | None:
        if step <= self.start or step % self.steps_per_epoch:
            return None
        return 1 / (self.count + 1)


@contextmanager
def recomputed_batch_norm(network: nn.Module, enabled: bool) -> Iterator[list[_BatchNorm]]:
    """Recompute batch-norm statistics as the mean over the batches forwarded inside the context.

    Yields the batch-norm layers concerned, none unless `enabled`; restores their old statistics on exit.
    Frozen layers keep their statistics, as in training.
    """
    training_mode(network)
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training and enabled]
    before = [(norm.momentum, [buffer.clone() for buffer in norm.buffers()]) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: cumulative mean in place of an exponential one
    try:
        yield norms
    finally:
        for norm, (momentum, buffers) in zip(norms, before, strict=True):
            norm.momentum = momentum
            for buffer, old in zip(norm.buffers(), buffers, strict=True):
                buffer.copy_(old)
