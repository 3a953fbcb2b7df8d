"""Batch normalization with the statistics of a whole batch, of which each process has a part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .process_group import ProcessGroup


def synchronize_batch_norm(network: nn.Module, group: ProcessGroup) -> None:
    """Let the batch-norm layers of a network take their statistics from the parts of all processes.

    On CUDA torch's own layer does it.
    """
    norms: list[Any] = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.class_alone = kind = type(norm)
        if next(network.parameters()).device.type == "cuda":
            norm.__class__ = nn.SyncBatchNorm
            norm.process_group = None  # all
        else:
            norm.__class__ = type(f"Synchronized{kind.__name__}", (_Synchronized, kind), {})
            norm.group = group


def separate_batch_norm(network: nn.Module) -> None:
    """Let the batch-norm layers of a network be as they were before `synchronize_batch_norm`."""
    norms: list[Any] = [module for module in network.modules() if hasattr(module, "class_alone")]
    for norm in norms:
        norm.__class__ = norm.class_alone
        del norm.class_alone


class _Synchronized(_BatchNorm):
    """A batch-norm layer of a group of processes, for the CPU."""

    group: ProcessGroup

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        if not self.training:
            return super().forward(input)
        values = input.float()
        dims = [0, *range(2, input.ndim)]
        mean, variance, count = self._of_all(*_statistics(values, dims))
        if self.running_mean is not None:
            self._follow(mean.detach(), variance.detach() * (count / (count - 1)))
        factor = (variance + self.eps).rsqrt()
        factor = factor if self.weight is None else factor * self.weight
        shift = -mean * factor if self.bias is None else self.bias - mean * factor
        shape = (1, -1, *(1 for _ in input.shape[2:]))
        return torch.addcmul(shift.view(shape), values, factor.view(shape)).to(input.dtype)

    def _of_all(self, mean: Tensor, variance: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
        """Return mean, biased variance and number of the values of all processes.

        From those of each (Chan et al. 1979), which do not cancel as sums of squares would.
        """
        channels = len(mean)
        own = torch.cat([mean, variance, mean.new_tensor([count])])
        rows = torch.zeros(self.group.size, len(own)).index_copy(
            0, torch.tensor([self.group.rank]), own[None]
        )
        rows = _Sum.apply(rows, self.group)
        counts = rows[:, -1:].detach()
        parts = counts / counts.sum()
        means, variances = rows[:, :channels], rows[:, channels:-1]
        mean = (parts * means).sum(0)
        variance = (parts * (variances + (means - mean).square())).sum(0)
        return mean, variance, float(counts.sum())

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def _statistics(values: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, int]:
    """Return mean and biased variance over dimensions, and the number of values of each."""
    variance, mean = torch.var_mean(values, dims, correction=0)
    return mean, variance, values.numel() // values.shape[1]


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes, with its gradient: the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        total = tensor.clone()
        group.add_up([total])
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        ctx.group.add_up([total])
        return total, None
