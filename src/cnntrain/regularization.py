"""Penalties on the weights and decoupled decay, with gradients in closed form.

A penalty's gradient is known without backpropagation, so it is added to the gradients of the data loss
after the backward pass: the same numbers as differentiating the total loss, at a fraction of the cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config.regularization import Regularization as Strengths


class Regularization:
    """The penalty l2·½w² + l1·|w| (+ elastic net) of a network, and its decay (R1–R3, R6, C6).

    Biases and normalization layers (all one-dimensional tensors) are left out unless `biases`. `groups`
    holds weights with the factors of their learning rates, where not all have one.
    """

    def __init__(
        self,
        strengths: Strengths,
        network: nn.Module,
        default_weight_decay: float = 0.0,
        groups: list[tuple[list[Tensor], float]] | None = None,
    ):
        decay = strengths.weight_decay
        self.weight_decay = default_weight_decay if decay is None else decay
        self.l1 = strengths.l1 + strengths.elastic_l1
        self.l2 = strengths.l2 + 2 * strengths.elastic_l2
        self.weights: list[Tensor] = [
            w for w in network.parameters() if w.requires_grad and (strengths.biases or w.ndim > 1)
        ]
        chosen = {id(weight) for weight in self.weights}
        self._decayed = [(self.weights, 1.0)]
        if groups is not None:
            self._decayed = [([w for w in group if id(w) in chosen], scale) for group, scale in groups]
        self.penalizes = bool(self.l1 or self.l2) and bool(self.weights)

    @torch.no_grad()
    def loss(self) -> Tensor | float:
        """Return the penalty as it now is; 0.0 where there is none."""
        if not self.penalizes:
            return 0.0
        total: Tensor | float = 0.0
        if self.l2:
            total = total + 0.5 * self.l2 * torch.stack(torch._foreach_norm(self.weights)).square().sum()
        if self.l1:
            total = total + self.l1 * torch.stack(torch._foreach_norm(self.weights, 1)).sum()
        return total

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the penalty's gradient, l2·w + l1·sign(w), to the gradients of the weights."""
        if not self.penalizes:
            return
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        assert len(gradients) == len(self.weights)
        if self.l2:
            torch._foreach_add_(gradients, self.weights, alpha=self.l2)
        if self.l1:
            torch._foreach_add_(gradients, torch._foreach_sign(self.weights), alpha=self.l1)

    @torch.no_grad()
    def decay(self, lr: float, finite: Tensor | None = None) -> None:
        """Shrink the weights by lr·weight_decay, before the update; not where the step is skipped.

        Where weights have a factor of lr, it counts here too.
        """
        if self.weight_decay == 0.0:
            return
        for weights, scale in self._decayed:
            share = lr * scale * self.weight_decay
            if weights:
                torch._foreach_mul_(weights, 1 - share if finite is None else 1 - share * finite)
