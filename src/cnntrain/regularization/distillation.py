"""Distillation: a network also learns the softened probabilities of a trained one, its teacher.

Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015. Both softmaxes have the temperature
T; the factor T² keeps the size of the gradient, which softening divides by T².
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Teacher:
    """A trained network, frozen and in evaluation mode, with its own preprocessing.

    logits: its scores → values whose softmax is its probabilities.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: nn.Module,
        logits: Callable[[Tensor], Tensor],
        alpha: float,
        temperature: float,
    ):
        self.network = network.eval().requires_grad_(False)
        self.preprocess = preprocess
        self.logits = logits
        self.alpha = alpha
        self.temperature = temperature

    @torch.no_grad()
    def targets(self, inputs: Tensor) -> Tensor:
        """Return its logarithmic probabilities (N, K) at the temperature, in float32, from its inputs."""
        logits = self.logits(self.network(inputs)).float()
        return F.log_softmax(logits / self.temperature, 1)

    def loss(self, targets: Tensor, scores: Tensor) -> Tensor:
        """Return T²·KL(teacher ‖ student), mean over the batch, for `targets` and the student's scores."""
        own = F.log_softmax(scores.float() / self.temperature, 1)
        divergence = F.kl_div(own, targets, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence

    def blend(self, loss: Tensor, distillation: Tensor) -> Tensor:
        """Return (1 - alpha)·loss + alpha·distillation."""
        return (1 - self.alpha) * loss + self.alpha * distillation
